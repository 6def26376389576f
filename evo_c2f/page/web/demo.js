// Runs the chosen models on the chosen picture, and compares two outputs under a divider.

const about = JSON.parse($('data').textContent);
const SIDES = ['left', 'right'];
let picture = null;  // {name, blob}
let outputs = new Map();  // model -> what the server told at the end of its run
let stop = new AbortController();

async function choose(name, blob) {
  picture = {name, blob};
  outputs = new Map();
  await show();
}

// Run what is chosen and not run yet, one model after the other, and show it.
async function show() {
  stop.abort();
  stop = new AbortController();
  const {signal} = stop;
  if (!picture) return;
  try {
    for (const side of SIDES) {
      const model = Number($(side).value);
      if (!outputs.has(model)) outputs.set(model, await run(model, signal));
    }
    draw();
    const losses = outputs.values().next().value.losses;
    say([`${picture.name}: done`, ...losses].join('; '));
  } catch (error) {
    if (signal.aborted) return;  // another picture or model was chosen meanwhile
    $('compare').hidden = true;
    $('facts').replaceChildren();
    say(error.message);
  } finally {
    if (!signal.aborted) $('progress').hidden = true;
  }
}

async function run(model, signal) {
  const {name, blob} = picture;
  if (blob.size > about.largest) throw new Error(`${name} is too large a file`);  // the server would not read it
  say(`${name}: ${about.models[model].name} runs`);
  $('progress').hidden = false;
  $('progress').value = 0;
  const answer = await fetch(`/run/${model}?name=${encodeURIComponent(name)}`, {method: 'POST', body: blob, signal});
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
  for await (const line of lines(answer.body)) {
    if (line.error) throw new Error(line.error);
    if ('result' in line) return line;
    $('progress').value = line.done / line.of;
  }
  throw new Error('the server stopped in the middle');
}

// The JSON lines of a stream, as they come.
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function draw() {
  const chosen = SIDES.map(side => Number($(side).value));
  SIDES.forEach((side, i) => { $(`${side}-picture`).src = `/results/${outputs.get(chosen[i]).result}`; });
  $('compare').hidden = false;
  const head = ['', 'Model', 'Size', 'Output', 'Time', 'Memory', ''].map(text => el('th', {text}));
  $('facts').replaceChildren(el('tr', {}, ...head), ...SIDES.map((side, i) => row(side, chosen[i])));
}

function row(side, model) {
  const {name, size_mb} = about.models[model], output = outputs.get(model);
  const file = `${picture.name.replace(/\.[^.]*$/, '')}-${name.replaceAll('/', '-')}.png`;
  const cells = [side === 'left' ? 'Left' : 'Right', name, size_mb === null ? '–' : `${digits(size_mb, 3)} MB`];
  cells.push(`${output.width} × ${output.height}`, `${digits(output.ms, 4)} ms`, output.memory === null ? '–' : `${short(output.memory)}B`);
  const download = el('a', {href: `/results/${output.result}`, download: file, text: 'Download'});
  return el('tr', {}, ...cells.map(text => el('td', {text})), el('td', {}, download));
}

const say = text => { $('state').textContent = text; };

function startSamples() {
  about.samples.forEach((name, i) => {
    const button = el('button', {type: 'button', 'aria-pressed': 'false', title: name},
      el('img', {src: `/samples/${i}`, alt: name}));
    button.addEventListener('click', async () => {
      press(button);
      choose(name, await (await fetch(`/samples/${i}`)).blob());
    });
    $('samples').append(button);
  });
}

function press(button) {
  for (const each of $('samples').children) each.setAttribute('aria-pressed', String(each === button));
}

function startFiles() {
  const take = files => {
    if (!files.length) return;
    press(null);
    choose(files[0].name, files[0]);
  };
  $('file').addEventListener('change', event => take(event.target.files));
  document.addEventListener('dragover', event => { event.preventDefault(); document.body.classList.add('dropping'); });
  document.addEventListener('dragleave', () => document.body.classList.remove('dropping'));
  document.addEventListener('drop', event => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    take(event.dataTransfer.files);
  });
}

const options = about.models.map((model, i) => [String(i), model.name]);
fill($('left'), options, '0');
fill($('right'), options, '1');
SIDES.forEach(side => $(side).addEventListener('change', show));
$('divider').addEventListener('input', event => $('compare').style.setProperty('--at', `${event.target.value / 10}%`));
$('pixels').addEventListener('change', event => $('compare').classList.toggle('pixels', event.target.checked));
startTheme(() => {});
startSamples();
startFiles();
say('No picture yet.');

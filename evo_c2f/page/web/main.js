// The page's state, what follows from it, and newer data where a server gives it.

const STAGES = ['path', 'operator', 'channel', 'joint', 'reference'];
const EVERY = 4000; // milliseconds between two questions
const state = {data: JSON.parse($('data').textContent), selected: null, filter: '', filterStage: '', frontsAlone: false, page: 0, sort: {key: 'front', down: false}};

// By weights and id, so that a choice outlives newer data.
function selectedRow() {
  const {columns} = state.data.rows;
  if (!state.selected) return null;
  const row = columns.id.findIndex((id, i) => id === state.selected.id && (state.data.contexts[columns.context[i]] || {}).key === state.selected.key);
  return row < 0 ? null : row;
}

function choose(row) {
  const {columns} = state.data.rows;
  state.selected = {id: columns.id[row], key: state.data.contexts[columns.context[row]].key};
}

function select(row) {
  choose(row);
  drawSubnet();
  markTable();
  if (window.Plotly) drawFronts();
}

function settle() {
  const {data} = state, names = Object.keys(data.metrics);
  state.texts = rowTexts();
  state.onFront = new Map();
  for (const [stage, front] of Object.entries(data.rows.fronts)) front.forEach((row, i) => state.onFront.set(row, {stage, at: i + 1, of: front.length}));
  if (!state.selected && data.shown_first !== null) choose(data.shown_first);
  if (!names.includes(state.y)) state.y = data.objectives[0];
  if (!names.includes(state.x)) { state.x = data.objectives[1]; state.logX = metricOf(state.x).kind !== 'quality'; }
  $('log-x').checked = state.logX;
  for (const axis of ['x', 'y']) fill($(`axis-${axis}`), names.map(n => [n, axisTitle(n)]), state[axis]);
  fill($('filter-stage'), [['', 'all'], ...STAGES.filter(s => data.rows.columns.stage.includes(s)).map(s => [s, s])], state.filterStage);
}

function drawHead() {
  const {data} = state;
  document.title = `${data.title}: evo_c2f report`;
  $('title').textContent = data.title;
  $('task').textContent = data.task;
  $('sentence').textContent = data.sentence;
  const {drawn, columns, n_scores: n} = data.rows;
  $('fronts-note').textContent = !n ? 'Nothing was scored yet.' : (drawn.length < n ? `All fronts, and ${drawn.length.toLocaleString('en')} of ${n.toLocaleString('en')} scored subnets: of those that are on no front, a sample. ` : `All ${n.toLocaleString('en')} scores. `)
    + (data.contexts.length > 1 ? 'Each stage was scored with weights of its own: its values are not to be compared with another stage\'s. ' : '') + (columns.id.length ? 'Click on a point to see its subnet.' : '');
}

function drawFacts() {
  const {facts, recipe} = state.data, minutes = m => (m < 10 ? m.toFixed(1) : m.toFixed(0));
  const line = c => el('tr', {}, el('td', {text: `${c.what}, ${c.stage}`}), el('td', {class: 'number', text: `${minutes(c.minutes)} min`}));
  const sum = facts.cost.reduce((total, c) => total + c.minutes, 0);
  $('cost').replaceChildren(el('tbody', {}, ...facts.cost.map(line), el('tr', {class: 'sum'}, el('td', {text: 'together'}), el('td', {class: 'number', text: `${minutes(sum)} min`}))));
  const list = versions => Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ');
  const entries = [['Device', facts.device || 'not noted yet'], ['Protocol', facts.protocol || 'nothing was scored yet'], ['Seed', String(facts.seed)],
    ['Run with', facts.versions ? list(facts.versions) : 'not noted: the run is older than that'], ['Page made with', list(facts.made_with)], ['Folder', facts.folder]];
  $('facts').replaceChildren(...entries.flatMap(([name, text]) => [el('dt', {text: name}), el('dd', {text})]));
  $('recipe').textContent = recipe;
}

function drawAll() {
  for (const draw of [settle, drawHead, drawSubnet, drawTable, drawEffects, drawLedger, drawFacts]) draw();
  drawPlots();
}

function drawPlots() {
  if (!window.Plotly) return;
  for (const draw of [drawFronts, drawGrowth, drawTraining]) draw();
}

// Plotly is most of the file: all else is shown before it is read.
function startPlotly() {
  document.body.append(el('script', {text: $('plotly').textContent}));
  drawPlots();
  document.documentElement.dataset.ready = 'yes';
}

function startControls() {
  for (const axis of ['x', 'y']) {
    $(`axis-${axis}`).addEventListener('change', event => {
      state[axis] = event.target.value;
      if (axis === 'x') { state.logX = metricOf(state.x).kind !== 'quality'; $('log-x').checked = state.logX; }
      drawFronts();
    });
  }
  $('log-x').addEventListener('change', event => { state.logX = event.target.checked; drawFronts(); });
  const redraw = (id, key, draw) => $(id).addEventListener('change', event => { state[key] = event.target.value; draw(); });
  redraw('effects-stage', 'effectsStage', drawEffects);
  redraw('effects-metric', 'effectsMetric', drawEffects);
  redraw('ledger-training', 'ledger', drawLedger);
  redraw('training-which', 'training', drawTraining);
}

let tag = '';

async function refresh() {
  const status = $('live'), at = new Date().toLocaleTimeString('en-GB');
  try {
    const answer = await fetch('/data.json', {headers: {'If-None-Match': tag}});
    if (answer.status === 200) {
      state.data = await answer.json();
      tag = answer.headers.get('ETag') || '';
      drawAll();
    } else if (answer.status !== 304) throw new Error(String(answer.status));
    status.classList.remove('gone');
    status.textContent = `Live, as of ${at}`;
  } catch {
    status.classList.add('gone');
    status.textContent = 'The server doesn\'t answer; this is what was last read.';
  }
  setTimeout(refresh, EVERY);
}

startTheme(drawAll);
startControls();
startTable();
const live = state.data.live;
drawAll();
addEventListener('load', () => setTimeout(startPlotly));
if (live) { $('live').hidden = false; $('live').textContent = 'Live'; refresh(); }

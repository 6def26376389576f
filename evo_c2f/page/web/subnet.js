// The chosen subnet: its place, its metrics, its network, its pictures, and the command that goes on with it.

function drawSubnet() {
  const row = selectedRow(), panel = $('subnet');
  if (row === null) {
    panel.replaceChildren(el('h3', {id: 'subnet-title', text: 'No subnet is chosen'}), el('p', {class: 'note', text: 'Click on a point, or on a row of the table.'}));
    return;
  }
  const network = decoded(state.data.space, state.data.rows.columns.genome[row]);
  panel.replaceChildren(
    subnetHeader(row), el('p', {class: 'note', text: placeOf(row)}), figuresOf(row), el('h4', {text: 'Network'}),
    el('div', {class: 'scroll network', tabindex: 0, role: 'region', 'aria-label': 'Drawing of the network'}, drawNetwork(state.data.space, network)),
    operatorKey(state.data.space, network),
    el('p', {class: 'note', text: 'Left to right the cells; the number below each is its inner width in channels.'}),
    ...picturesOf(row), el('h4', {text: 'Train it alone'}), commandOf(row));
}

function subnetHeader(row) {
  const {columns, fronts} = state.data.rows, front = fronts[columns.stage[row]] || [], holder = frontWith(row) || front, at = holder.indexOf(row);
  const step = (text, label, to) => el('button', {type: 'button', text, 'aria-label': label, disabled: !(to >= 0 && to < holder.length), onclick: () => { select(holder[to]); const again = $('subnet').querySelector(`[aria-label="${label}"]`); if (again && !again.disabled) again.focus({preventScroll: true}); }});
  return el('header', {}, el('h3', {id: 'subnet-title'}, 'Subnet ', el('span', {class: 'id', text: columns.id[row]})),
    el('div', {}, step('‹', 'Before it on the front', at < 0 ? -1 : at - 1), step('›', 'After it on the front', at < 0 ? 0 : at + 1)));
}

const frontWith = row => Object.values(state.data.rows.fronts).reverse().find(front => front.includes(row));

function placeOf(row) {
  const {columns, fronts, survivors} = state.data.rows, stage = columns.stage[row];
  const weights = `Scored in the ${stage === 'reference' ? 'reference stage, first of all' : `${stage} stage, generation ${columns.generation[row]}`}.`;
  const held = Object.entries(fronts).filter(([, front]) => front.includes(row)).map(([name, front]) =>
    `On the front of the ${name} stage: ${front.indexOf(row) + 1} of ${front.length} by ${metricOf(state.data.objectives[0]).label}${(survivors[name] || []).includes(row) ? ', a seed of the next stage' : ''}.`);
  return [...held, ...(held.length ? [] : [dominance(row)]), weights].join(' ');
}

function dominance(row) {
  const {columns} = state.data.rows, names = state.data.objectives, values = names.map(n => columns.metrics[n]), signs = names.map(n => (metricOf(n).better === 'lower' ? 1 : -1));
  if (values.some(v => !v || v[row] === null)) return 'It has no score of every objective.';
  const n = columns.id.filter((_, other) => columns.context[other] === columns.context[row] && values.every((v, k) => v[other] !== null && signs[k] * v[other] <= signs[k] * v[row]) && values.some((v, k) => signs[k] * v[other] < signs[k] * v[row])).length;
  if (!n) return 'No other subnet of its weights is better in every objective, but it stands on no stage\'s front.';
  return `On no front: ${n.toLocaleString('en')} ${n === 1 ? 'subnet is' : 'subnets are'} at least as good in every objective and better in one.`;
}

function figuresOf(row) {
  const {teacher} = state.data, {columns} = state.data.rows, context = columns.context[row], baseline = (state.data.contexts[context] || {baseline: {}}).baseline;
  const widest = columns.stage.findIndex((stage, other) => stage === 'reference' && columns.context[other] === context);
  const shown = Object.entries(columns.metrics).filter(([, values]) => values[row] !== null);
  return el('ul', {class: 'figures'}, ...shown.map(([name, values]) => {
    const others = [[state.data.baseline_name, baseline], [teacher.name, teacher.metrics]].filter(([, metrics]) => name in metrics);
    let beside = others.map(([other, metrics]) => `${difference(name, values[row], metrics[name])} against ${other}`).join(', ');
    if (!others.length && widest >= 0 && values[widest]) beside = `${(100 * values[row] / values[widest]).toFixed(1)}% of the widest`;
    return el('li', {}, el('span', {text: metricOf(name).label}), el('b', {text: withUnit(name, values[row])}), el('small', {text: beside}));
  }));
}

const PICTURE = /^data:image\/webp;base64,[A-Za-z0-9+/=]+$/;

function picturesOf(row) {
  const {samples, rows, contexts} = state.data, {columns} = rows;
  const key = `${(contexts[columns.context[row]] || {}).key}:${columns.id[row]}`, own = (samples.subnets || {})[key], title = el('h4', {text: 'Held-out images'});
  if (!Array.isArray(own)) {
    const why = samples.subnets ? 'Pictures are made for subnets of the fronts, at most 48 of each.' : 'None were made: report makes them where the supernet\'s weights and the images are at hand.';
    return [title, el('p', {class: 'note', text: why})];
  }
  const named = Object.entries(samples.columns || {}), sets = [...named.filter(([n]) => n !== 'target'), ['this subnet', own], ...named.filter(([n]) => n === 'target')];
  const picture = (name, urls, i) => el('td', {}, PICTURE.test(urls[i]) ? el('img', {src: urls[i], alt: `${name}, image ${i + 1}`}) : null);
  const lines = own.map((_, i) => el('tr', {}, ...sets.map(([name, urls]) => picture(name, urls, i))));
  return [title, el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Held-out images'}, el('table', {class: 'pictures'}, el('thead', {}, el('tr', {}, ...sets.map(([name]) => el('th', {scope: 'col', text: name})))), el('tbody', {}, ...lines)))];
}

function commandOf(row) {
  const {pickable, command, rows} = state.data, id = rows.columns.id[row];
  if (pickable.refused.includes(row)) return el('p', {class: 'note', text: `It failed, or breaks the run's limits (${pickable.limits || 'none'}); finetune would refuse it.`});
  const line = `${command} --pick ${id} --name models/${id}`;
  const copy = el('button', {type: 'button', text: 'Copy', onclick: () => navigator.clipboard.writeText(line).then(() => { copy.textContent = 'Copied'; }, () => getSelection().selectAllChildren(code))});
  const code = el('code', {text: line});
  return el('div', {class: 'command'}, code, copy);
}

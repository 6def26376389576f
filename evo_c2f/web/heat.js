// Tables whose cells are coloured: what choices are worth, and how often each was trained.

// cells: rows of {text, title, share}, share from -1 (worse) over 0 to 1 (better, or much); null for none.
function heatTable(caption, remark, columns, rows) {
  const ground = colour('surface');
  const cell = c => {
    if (!c) return el('td', {text: ''});
    const parts = mixed(ground, colour(c.share < 0 ? 'worse' : 'better'), 0.85 * Math.min(1, Math.abs(c.share)));
    return el('td', {text: c.text, title: c.title, style: {background: `rgb(${parts.join()})`, color: inkOn(parts)}});
  };
  const lines = rows.map(([name, cells]) => el('tr', {}, el('th', {scope: 'row', text: name}), ...cells.map(cell)));
  return el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption}, el('table', {class: 'heat'},
    el('caption', {}, `${caption} `, el('span', {text: remark})),
    el('thead', {}, el('tr', {}, el('td', {style: {background: 'none'}}), ...columns.map(c => el('th', {scope: 'col', text: c})))), el('tbody', {}, ...lines)));
}

const KINDS = [['path', 'Level of each cell'], ['operator', 'Operator of each cell'], ['inner', 'Inner width ratio of each cell'], ['width', 'Trunk width of each level']];

function drawEffects() {
  const all = state.data.effects, stages = Object.keys(all);
  if (!stages.length) { $('effects-note').textContent = 'Nothing was searched yet.'; $('effects').replaceChildren(); return; }
  if (!(state.effectsStage in all)) state.effectsStage = stages[stages.length - 1];
  const metrics = Object.keys(all[state.effectsStage]);
  if (!metrics.includes(state.effectsMetric)) state.effectsMetric = metrics.includes(state.data.objectives[0]) ? state.data.objectives[0] : metrics[0];
  fill($('effects-stage'), stages.map(s => [s, s]), state.effectsStage);
  fill($('effects-metric'), metrics.map(m => [m, axisTitle(m)]), state.effectsMetric);
  const effects = all[state.effectsStage][state.effectsMetric] || [], name = state.effectsMetric;
  const largest = Math.max(...effects.map(e => Math.abs(e.effect || 0)), 1e-12);
  $('effects-note').textContent = `The mean of ${axisTitle(name)} over the subnets of the ${state.effectsStage} stage that made a choice, less the mean over all of them. Blue is better, orange worse. The search scores good choices more often than others and together, so these are hints, not causes.`;
  $('effects').replaceChildren(...KINDS.map(([kind, title]) => effectsTable(effects.filter(e => e.gene.startsWith(`${kind}_`)), kind, title, name, largest)).filter(Boolean));
}

function effectsTable(effects, kind, title, name, largest) {
  if (!effects.length) return null;
  const genes = [...new Set(effects.map(e => e.gene))], {space} = state.data;
  const choices = {path: ['skip', ...space.levels.map(String)], operator: space.operators, inner: space.ratios.map(String), width: [...new Set(space.widths.flat())].sort((a, b) => a - b).map(String)}[kind];
  const sign = metricOf(name).better === 'higher' ? 1 : -1, by = new Map(effects.map(e => [`${e.gene} ${e.choice}`, e]));
  const cell = (gene, choice) => {
    const e = by.get(`${gene} ${choice}`);
    if (!e || e.effect === null) return null;
    return {text: signed(name, e.effect), share: sign * e.effect / largest, title: `${e.n} subnets, mean ${withUnit(name, e.mean)}, ${signed(name, e.effect)} against all`};
  };
  const label = choice => (kind === 'path' && choice !== 'skip' ? sizeText(Number(choice)) : choice);
  const rows = choices.map(c => [label(c), genes.map(g => cell(g, c))]).filter(([, cells]) => cells.some(Boolean));
  const columns = genes.map(g => (kind === 'width' ? sizeText(Number(g.split('_')[1])) : g.split('_')[1]));
  return heatTable(title, hasUnit(name) ? `in ${metricOf(name).unit}` : metricOf(name).label, columns, rows);
}

function signed(name, value) {
  const text = metricOf(name).unit === 'dB' || metricOf(name).unit === 'MB' ? Math.abs(value).toFixed(2) : short(Math.abs(value)).replace(/(\d\.\d)\d+/, '$1');
  return Number(text.split(' ')[0]) === 0 ? '0' : (value < 0 ? '−' : '+') + text;
}

function drawLedger() {
  const names = Object.keys(state.data.ledgers);
  if (!names.length) { $('ledger-note').textContent = 'No training has ended yet.'; $('ledger').replaceChildren(); return; }
  if (!names.includes(state.ledger)) state.ledger = names[0];
  fill($('ledger-training'), names.map(n => [n, n]), state.ledger);
  const counts = state.data.ledgers[state.ledger], {space} = state.data, cells = [...Array(space.n_cells).keys()];
  $('ledger-note').textContent = `How many updates each choice had in ${counts.rounds.toLocaleString('en')} rounds. ${state.ledger === 'joint' ? 'Within a cell, and within a cell at one level, the counts are to be equal, or differ by one.' : 'This training went on with the survivors of the stage before, so only their paths were trained.'}`;
  const levels = space.levels.map(sizeText), perLevel = (name, choices) => space.levels.flatMap((_, k) => choices.map((choice, j) => [`${levels[k]}, ${choice}`, cells.map(i => counts[name][i][k][j])]));
  const trunk = space.levels.map((_, k) => [levels[k], counts.trunk[k].map((n, j) => (j < space.widths[k].length ? n : null))]);
  $('ledger').replaceChildren(
    countTable('Level of each cell', cells, ['skip', ...levels].map((level, k) => [level, cells.map(i => counts.path[i][k])]), counts.path),
    countTable('Operator of each cell', cells, perLevel('operator', space.operators), counts.operator.flat()),
    countTable('Inner width ratio of each cell', cells, perLevel('inner', space.ratios), counts.inner.flat()),
    countTable('Trunk width of each level, narrow to wide', trunk[0][1].map((_, j) => j + 1), trunk, counts.trunk.map((row, k) => row.slice(0, space.widths[k].length))));
}

// decks: the counts that ought to be equal, one list each.
function countTable(caption, columns, rows, decks) {
  const largest = Math.max(1, ...rows.flatMap(([, values]) => values));
  const apart = Math.max(...decks.map(deck => Math.max(...deck) - Math.min(...deck)));
  const cell = n => (n === null ? null : {text: String(n), share: 0.75 * n / largest, title: `${n} updates`});
  return heatTable(caption, `at most ${apart.toLocaleString('en')} apart`, columns, rows.map(([name, values]) => [name, values.map(cell)]));
}

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
  const title = el('h3', {}, `${caption} `, el('span', {text: remark}));
  return el('div', {}, title, el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption}, el('table', {class: 'heat', 'aria-label': caption},
    el('thead', {}, el('tr', {}, el('td', {style: {background: 'none'}}), ...columns.map(c => el('th', {scope: 'col', text: c})))), el('tbody', {}, ...lines))));
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
    return {text: signed(e.effect, largest), share: sign * e.effect / largest, title: `${e.n} subnets, mean ${withUnit(name, e.mean)}, ${signed(e.effect, largest)} against all`};
  };
  const sizeOf = level => sizeText(space.spans[space.levels.indexOf(Number(level))]);
  const label = choice => (kind === 'path' && choice !== 'skip' ? sizeOf(choice) : choice);
  const rows = choices.map(c => [label(c), genes.map(g => cell(g, c))]).filter(([, cells]) => cells.some(Boolean));
  const columns = genes.map(g => (kind === 'width' ? sizeOf(g.split('_')[1]) : g.split('_')[1]));
  return heatTable(title, hasUnit(name) ? `in ${metricOf(name).unit}` : metricOf(name).label, columns, rows);
}

// A difference with its sign, with as many digits as make the largest of its table two figures long.
function signed(value, largest) {
  const [unit, letter] = PREFIXES.find(([least]) => largest >= least) || [1, ''];
  const decimals = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(largest / unit))));
  const text = (Math.abs(value) / unit).toFixed(decimals);
  return Number(text) === 0 ? '0' : (value < 0 ? '−' : '+') + text + (letter && ` ${letter}`);
}

const LEDGER_NOTES = {
  joint: 'Within a cell, and within a cell at one level, the counts are to be equal, or differ by one.',
  path: 'Within a cell the levels are to be equal; this training had the reference operator at full width alone.',
};

// unfair: dimension -> how far the counts of competing choices are apart; runs of before have none.
function unfairText(unfair) {
  const gaps = Object.entries(unfair || {}).map(([name, gap]) => `${name} ${gap.toLocaleString('en')}`);
  return gaps.length ? `This training was not fair: updates of competing choices differ by up to ${gaps.join(', ')}. ` : '';
}

function drawLedger() {
  const names = Object.keys(state.data.ledgers);
  if (!names.length) { $('ledger-note').textContent = 'No training has ended yet.'; $('ledger').replaceChildren(); return; }
  if (!names.includes(state.ledger)) state.ledger = names[0];
  fill($('ledger-training'), names.map(n => [n, n]), state.ledger);
  const counts = state.data.ledgers[state.ledger], {space} = state.data, cells = [...Array(space.n_cells).keys()];
  $('ledger-note').textContent = `How many updates each choice had in ${counts.rounds.toLocaleString('en')} rounds. ${unfairText(counts.unfair)}${LEDGER_NOTES[state.ledger] || 'This training took the survivors of the stage before, so only their paths were trained.'}`;
  const levels = space.spans.map(sizeText), perLevel = (name, choices) => space.levels.flatMap((_, k) => choices.map((choice, j) => [`${levels[k]}, ${choice}`, cells.map(i => counts[name][i][k][j])]));
  const dealt = state.data.dealt[state.ledger] || [], decks = (name, counts) => (dealt.includes(name) ? counts : null);
  const trunk = space.levels.map((_, k) => [levels[k], counts.trunk[k].map((n, j) => (j < space.widths[k].length ? n : null))]);
  $('ledger').replaceChildren(
    countTable('Level of each cell', cells, ['skip', ...levels].map((level, k) => [level, cells.map(i => counts.path[i][k])]), decks('path', counts.path)),
    countTable('Operator of each cell', cells, perLevel('operator', space.operators), decks('operator', counts.operator.flat())),
    countTable('Inner width ratio of each cell', cells, perLevel('inner', space.ratios), decks('inner', counts.inner.flat())),
    countTable('Trunk width of each level, narrow to wide', trunk[0][1].map((_, j) => j + 1), trunk, decks('trunk', counts.trunk.map((row, k) => row.slice(0, space.widths[k].length)))),
    countTable('What all paths share', levels, [['stem', counts.stem], ['head', counts.head], ...counts.transition.map((row, k) => [`from ${levels[k]} to`, row.map((n, j) => (j === k ? null : n))])], null));
}

// decks: the counts that ought to be equal, one list each; null where none ought to be.
function countTable(caption, columns, rows, decks) {
  const largest = Math.max(1, ...rows.flatMap(([, values]) => values));
  const apart = decks && Math.max(...decks.map(deck => Math.max(...deck) - Math.min(...deck)));
  const remark = !decks ? 'counted, not dealt by this training' : apart ? `at most ${apart.toLocaleString('en')} apart` : 'all equal';
  const cell = n => (n === null ? null : {text: String(n), share: 0.75 * n / largest, title: `${n} updates`});
  return heatTable(caption, remark, columns, rows.map(([name, values]) => [name, values.map(cell)]));
}

// The table: filtered, sorted, fifty rows at a time; arrows move, Enter and Space select.

const PAGE = 50;

function rowTexts() {
  const {rows, space} = state.data;
  return rows.columns.genome.map((hex, row) => {
    const names = [...new Set(decoded(space, hex).cells.map(c => space.operators[c.operator]))];
    return `${rows.columns.id[row]} ${rows.columns.stage[row]} ${pathText(space, hex)} ${names.join(' ')}`.toLowerCase();
  });
}

const SCALE = {k: 1e3, m: 1e6, g: 1e9};

// A word of the filter as a test of a row: a limit of a metric, or a part of the row's text.
function testOf(word) {
  const limit = /^(\w+)(<=|>=|<|>|=)([-+.\de]+)([kmg]?)$/.exec(word);
  const values = limit && state.data.rows.columns.metrics[limit[1]];
  if (!values) return row => state.texts[row].includes(word);
  const bound = Number(limit[3]) * (SCALE[limit[4]] || 1);
  const holds = {'<': v => v < bound, '>': v => v > bound, '<=': v => v <= bound, '>=': v => v >= bound, '=': v => v === bound}[limit[2]];
  return row => values[row] !== null && holds(values[row]);
}

function filtered() {
  const {rows} = state.data, tests = state.filter.toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
  if (state.filterStage) tests.push(row => rows.columns.stage[row] === state.filterStage);
  if (state.frontsAlone) tests.push(row => state.onFront.has(row));
  return rows.columns.id.map((_, row) => row).filter(row => tests.every(test => test(row)));
}

function sorted(found) {
  const {columns} = state.data.rows, {key, down} = state.sort;
  const value = key in columns.metrics ? row => columns.metrics[key][row] : key === 'path' ? row => pathText(state.data.space, columns.genome[row]) : key === 'front' ? row => frontOrder(row) : row => columns[key][row];
  const compare = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (down ? -1 : 1));
  return found.map(row => [value(row), row]).sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(pair => pair[1]);
}

// The latest stage's front first, each best first; nothing for what is on none.
function frontOrder(row) {
  const place = state.onFront.get(row);
  return place ? (STAGES.length - STAGES.indexOf(place.stage)) * 1e6 + place.at : null;
}

function frontText(row) {
  const place = state.onFront.get(row);
  return place ? `${place.at} of ${place.of}` : '';
}

function tableColumns() {
  const metrics = Object.keys(state.data.rows.columns.metrics).map(name => ({key: name, title: axisTitle(name), number: true}));
  return [{key: 'id', title: 'Subnet'}, {key: 'stage', title: 'Stage'}, {key: 'front', title: 'Front'}, ...metrics, {key: 'path', title: 'Path'}];
}

function headerCell({key, title, number}) {
  const active = state.sort.key === key;
  const arrow = active ? (state.sort.down ? ' ↓' : ' ↑') : '';
  const sort = () => { state.sort = {key, down: active ? !state.sort.down : false}; state.page = 0; drawTable(); $('subnets').querySelector(`[data-key="${key}"]`).focus(); };
  return el('th', {scope: 'col', class: number && 'number', 'aria-sort': active ? (state.sort.down ? 'descending' : 'ascending') : undefined}, el('button', {type: 'button', text: title + arrow, 'data-key': key, onclick: sort}));
}

function bodyCell({key, number}, row) {
  const {columns} = state.data.rows;
  if (number) return el('td', {class: 'number', text: figure(key, columns.metrics[key][row])});
  if (key === 'id') return el('td', {class: 'id', text: columns.id[row]});
  if (key === 'stage') return el('td', {}, el('span', {class: 'dot', style: {background: colour(columns.stage[row])}, 'aria-hidden': 'true'}), columns.stage[row]);
  if (key === 'front') return el('td', {text: frontText(row)});
  return el('td', {class: 'id', text: pathText(state.data.space, columns.genome[row])});
}

function drawTable() {
  const order = sorted(filtered()), pages = Math.max(1, Math.ceil(order.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const shown = order.slice(state.page * PAGE, (state.page + 1) * PAGE), columns = tableColumns(), chosen = selectedRow();
  const focused = document.activeElement && document.activeElement.closest && document.activeElement.closest('#subnets tbody tr');
  const reachable = shown.includes(chosen) ? chosen : shown[0];
  const body = shown.map(row => el('tr', {tabindex: row === reachable ? 0 : -1, 'data-row': row, 'aria-current': row === chosen ? 'true' : undefined}, ...columns.map(column => bodyCell(column, row))));
  $('subnets').replaceChildren(el('thead', {}, el('tr', {}, ...columns.map(headerCell))), el('tbody', {}, ...body));
  if (focused) ($('subnets').querySelector(`[data-row="${reachable}"]`) || $('filter')).focus({preventScroll: true});
  const total = state.data.rows.columns.id.length, first = state.page * PAGE;
  const held = total < state.data.rows.n_scores ? ` (a sample: ${state.data.rows.n_scores.toLocaleString('en')} were scored)` : '';
  $('page-state').textContent = `${order.length ? first + 1 : 0} to ${first + shown.length} of ${order.length.toLocaleString('en')}` + (order.length < total ? `, out of ${total.toLocaleString('en')}` : '') + held;
  $('page-back').disabled = state.page === 0;
  $('page-on').disabled = state.page >= pages - 1;
}

function markTable() {
  const chosen = selectedRow();
  for (const line of $('subnets').querySelectorAll('tbody tr')) {
    const is = Number(line.dataset.row) === chosen;
    if (is) { line.setAttribute('aria-current', 'true'); } else { line.removeAttribute('aria-current'); }
  }
}

function onTableKey(event) {
  const line = event.target.closest('tbody tr');
  if (!line) return;
  const next = {ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling}[event.key];
  if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); select(Number(line.dataset.row)); }
  if (next) { event.preventDefault(); line.tabIndex = -1; next.tabIndex = 0; next.focus(); }
}

function startTable() {
  const again = change => event => { change(event); state.page = 0; drawTable(); };
  $('filter').addEventListener('input', again(event => { state.filter = event.target.value; }));
  $('filter-stage').addEventListener('change', again(event => { state.filterStage = event.target.value; }));
  $('filter-front').addEventListener('change', again(event => { state.frontsAlone = event.target.checked; }));
  $('page-back').addEventListener('click', () => { state.page -= 1; drawTable(); });
  $('page-on').addEventListener('click', () => { state.page += 1; drawTable(); });
  $('subnets').addEventListener('keydown', onTableKey);
  $('subnets').addEventListener('click', event => { const line = event.target.closest('tbody tr'); if (line) select(Number(line.dataset.row)); });
}

// The three plots, in the theme's colours.

const SYMBOLS = {path: 'circle', operator: 'square', channel: 'diamond', joint: 'triangle-up', reference: 'star-diamond'};
// Named one by one: Plotly's own choice has a button that sends the data to its maker's server.
const BUTTONS = ['zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d'];
const CONFIG = {responsive: true, displaylogo: false, modeBarButtons: [BUTTONS], plotlyServerURL: ''};

function layoutOf(plot, xTitle, yTitle, more = {}) {
  const axis = {gridcolor: colour('grid'), zeroline: false, linecolor: colour('rule'), automargin: true, tickfont: {color: colour('quiet')}};
  return {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: {l: 52, r: 10, t: 14, b: 46},
    font: {family: getComputedStyle(document.body).fontFamily, size: 12, color: colour('ink')},
    hoverlabel: {bgcolor: colour('surface'), bordercolor: colour('rule'), font: {color: colour('ink')}, align: 'left'},
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: colour('quiet'), activecolor: colour('accent')},
    legend: {orientation: 'h', x: 0, y: -58 / Math.max($(plot).clientHeight - 130, 100), yanchor: 'top', font: {size: 12}}, hovermode: 'closest',
    xaxis: {...axis, title: {text: xTitle, standoff: 8}, ...more.xaxis}, yaxis: {...axis, title: {text: yTitle, standoff: 8}, ...more.yaxis},
    uirevision: more.uirevision, shapes: more.shapes || [], annotations: more.annotations || [],
  };
}

// Plotly reads a little HTML in its texts: names from a run must not be that.
const plain = text => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

function hoverText(row) {
  const {columns} = state.data.rows, lines = [`<b>${plain(columns.id[row])}</b>  ${plain(columns.stage[row])}`];
  for (const [name, values] of Object.entries(columns.metrics)) {
    if (values[row] !== null) lines.push(`${plain(metricOf(name).label)} ${withUnit(name, values[row])}`);
  }
  return lines.join('<br>');
}

function pointsTrace(rows, more) {
  const {metrics} = state.data.rows.columns, xs = metrics[state.x] || [], ys = metrics[state.y] || [];
  const kept = rows.filter(row => typeof xs[row] === 'number' && typeof ys[row] === 'number');
  if (more.mode.includes('lines')) kept.sort((a, b) => xs[a] - xs[b]);
  return {
    type: 'scatter', x: kept.map(row => xs[row]), y: kept.map(row => ys[row]), customdata: kept,
    text: kept.map(hoverText), hovertemplate: '%{text}<extra></extra>', ...more,
  };
}

function stageTraces(stage) {
  const {rows} = state.data, onFront = new Set(rows.fronts[stage] || []), ink = colour(stage);
  const others = rows.drawn.filter(row => rows.columns.stage[row] === stage && !onFront.has(row));
  const symbol = SYMBOLS[stage];
  const short = name => name.replace(/_full$/, '');
  const objectives = [state.x, state.y].map(short).sort().join() === [...state.data.objectives].sort().join();
  const traces = [pointsTrace(others, {name: stage, showlegend: false, legendgroup: stage, mode: 'markers', marker: {symbol, size: 6, color: ink, opacity: 0.32}})];
  if (onFront.size) {
    traces.push(pointsTrace([...onFront], {
      name: `${stage} front`, legendgroup: stage, mode: objectives ? 'lines+markers' : 'markers', line: {color: ink, width: 1.5},
      marker: {symbol, size: 9, color: ink, line: {color: colour('ground'), width: 1}},
    }));
  }
  return traces;
}

function drawFronts() {
  const {rows} = state.data, stages = STAGES.filter(s => s !== 'reference' && rows.columns.stage.includes(s));
  const traces = stages.flatMap(stageTraces);
  // Of each weights the widest subnet was scored first, and sometimes then the shallowest.
  const references = rows.drawn.filter(row => rows.columns.stage[row] === 'reference');
  const isSecond = row => references.some(other => other < row && rows.columns.context[other] === rows.columns.context[row]);
  for (const [name, symbol, second] of [['widest subnet', 'x', false], ['shallowest subnet', 'cross', true]]) {
    const some = references.filter(row => isSecond(row) === second);
    if (some.length) traces.push(pointsTrace(some, {name, mode: 'markers', marker: {symbol, size: 9, color: colour('ink')}}));
  }
  traces.push(...linesAcross(traces));
  const chosen = selectedRow();
  if (chosen !== null) traces.push(pointsTrace([chosen], {name: 'selected', mode: 'markers', hoverinfo: 'skip', hovertemplate: undefined, showlegend: false, marker: {symbol: 'circle-open', size: 18, color: colour('ink'), line: {width: 2.5}}}));
  const layout = layoutOf('plot-fronts', axisTitle(state.x), axisTitle(state.y), {xaxis: {type: state.logX ? 'log' : 'linear', tickformat: ['macs', 'params'].includes(state.x) ? '~s' : '~g', dtick: state.logX && wide(traces) ? 'D2' : undefined}, uirevision: `${state.x} ${state.y} ${state.logX}`});
  const plot = $('plot-fronts');
  Plotly.react(plot, traces, layout, CONFIG);
  if (!plot.dataset.listens) {
    plot.dataset.listens = 'yes';
    plot.on('plotly_click', event => {
      const row = event.points.map(p => p.customdata).find(value => typeof value === 'number');
      if (row !== undefined) select(row);
    });
  }
}

// Whether a logarithmic axis has room for 1, 2 and 5 alone.
function wide(traces) {
  const xs = traces.flatMap(t => t.x).filter(x => x > 0);
  return Math.max(...xs) / Math.min(...xs) > 4;
}

// The baseline, and a teacher that the run learned from: a line each where an axis is a quality.
function linesAcross(traces) {
  const {contexts, baseline_name, teacher} = state.data, baseline = contexts.length ? contexts[contexts.length - 1].baseline : {};
  const span = key => { const all = traces.flatMap(t => t[key]); return all.length ? [Math.min(...all), Math.max(...all)] : [0, 1]; };
  const across = {x: span('x'), y: span('y')};
  const found = [];
  for (const [name, metrics, dash] of [[baseline_name, baseline, 'dash'], [teacher.name, teacher.metrics, 'dot']]) {
    for (const [axis, other] of [['y', 'x'], ['x', 'y']]) {
      const metric = state[axis], value = metrics[metric];
      if (metric in metrics) found.push({type: 'scatter', mode: 'lines', hoverinfo: 'skip', line: {color: colour('worse'), width: 1.5, dash}, [other]: across[other], [axis]: [value, value], name: plain(`${name} ${withUnit(metric, value)}`)});
    }
  }
  return found;
}

function drawGrowth() {
  const {curves, borders, n} = state.data.growth;
  const traces = curves.map(curve => ({type: 'scatter', mode: 'lines', x: curve.x, y: curve.y, line: {shape: 'hv', width: 2, color: colour('accent')}, showlegend: false, hovertemplate: 'after %{x} subnets: %{y:.4f}<extra></extra>'}));
  const shapes = borders.map(b => ({type: 'line', xref: 'x', yref: 'paper', x0: b.after, x1: b.after, y0: 0, y1: 1, line: {color: colour(b.stage), width: 1.5, dash: 'dot'}}));
  const annotations = borders.map(b => ({x: b.after, y: 1, xref: 'x', yref: 'paper', text: plain(b.stage), showarrow: false, xanchor: 'left', yanchor: 'top', xshift: 4, font: {color: colour(b.stage)}}));
  Plotly.react($('plot-growth'), traces, layoutOf('plot-growth', 'subnets scored', 'hypervolume', {shapes, annotations, xaxis: {range: [0, Math.max(n, 1)]}, yaxis: {rangemode: 'tozero'}}), CONFIG);
  $('growth-note').textContent = !curves.length ? 'Nothing was searched yet.' : 'In the box from the baseline to the widest subnet; dotted, where a stage begins.' + (curves.length > 1 ? ' Each stage was scored with weights of its own, so the curve begins anew: compare within a stage alone.' : '');
}

function drawTraining() {
  const {trainings} = state.data, alone = trainings.filter(t => !t.supernet);
  fill($('training-which'), [['', 'the supernet'], ...alone.map(t => [t.name, t.name])], state.training = alone.some(t => t.name === state.training) ? state.training : '');
  const shown = trainings.filter(t => (state.training ? t.name === state.training : t.supernet));
  const traces = shown.map(t => ({
    type: 'scatter', mode: 'lines', x: t.x, y: t.y, name: plain(t.name), showlegend: t.supernet,
    line: {width: 2, color: colour(t.supernet && t.name !== 'joint' ? t.name : 'accent')}, hovertemplate: 'round %{x}: loss %{y:.4g}<extra></extra>',
  }));
  Plotly.react($('plot-training'), traces, layoutOf('plot-training', 'round', 'loss, smoothed', {uirevision: `training ${state.training}`}), CONFIG);
  $('training-note').textContent = trainings.length ? 'The log has a line in 100 rounds.' : 'No round was logged yet; the log has a line in 100 rounds.';
}

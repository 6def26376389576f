// Elements, and figures as people read them. Text from a run is only ever text, never HTML.

const $ = id => document.getElementById(id);

function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'text') element.textContent = value;
    else if (name === 'style') Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

function svgEl(tag, attributes = {}, text) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const PREFIXES = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

// A bare figure: four digits, thousands and more with k, M or G.
function short(value) {
  for (const [unit, letter] of PREFIXES) {
    if (Math.abs(value) >= unit) return `${digits(value / unit, 4)} ${letter}`;
  }
  return digits(value, 4);
}

function digits(value, n) {
  const whole = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.max(0, Math.min(6, n - Math.max(whole, 0))));
}

// A metric's value, the same number of digits for all of its values, without unit.
function figure(name, value) {
  if (value === null || value === undefined) return '–';
  const unit = metricOf(name).unit;
  if (unit === 'dB') return value.toFixed(3);
  if (unit === 'MB') return value.toFixed(3);
  if (Math.abs(value) >= 1000) return short(value);
  return metricOf(name).kind === 'quality' ? digits(value, value < 1 ? 4 : 5) : digits(value, 4);
}

function metricOf(name) {
  return state.data.metrics[name] || {label: name, unit: '', better: 'lower', kind: 'cost'};
}

const hasUnit = name => ['dB', 'MB', 'ms'].includes(metricOf(name).unit);
const withUnit = (name, value) => {
  const text = figure(name, value);
  return hasUnit(name) && text !== '–' ? `${text} ${metricOf(name).unit}` : text;
};
const axisTitle = name => metricOf(name).label + (hasUnit(name) ? ` (${metricOf(name).unit})` : '');

// A difference between two values, with its sign.
function difference(name, a, b) {
  const text = withUnit(name, Math.abs(a - b));
  return `${a >= b ? '+' : '−'}${text}`;
}

function fill(select, options, chosen) {
  const same = select.options.length === options.length && options.every(([v], i) => select.options[i].value === v);
  if (!same) select.replaceChildren(...options.map(([value, text]) => el('option', {value, text})));
  select.value = chosen;
}

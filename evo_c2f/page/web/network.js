// A subnet's genome as a network: decoded, in words, and drawn as a line over the levels.

function decoded(space, hex) {
  const genes = hex.match(/../g).map(byte => parseInt(byte, 16));
  const n = space.n_cells;
  const cells = [];
  for (let i = 0; i < n; i++) {
    if (!genes[i]) continue;
    const level = genes[i] - 1;
    const inner = space.inner[level][genes[3 * n + level]][genes[2 * n + i]];
    cells.push({position: i, level, operator: genes[n + i], inner});
  }
  const widths = space.levels.map((_, k) => (cells.some(c => c.level === k) ? space.widths[k][genes[3 * n + k]] : null));
  return {cells, widths};
}

function pathText(space, hex) {
  let text = '';
  for (let i = 0; i < space.n_cells; i++) {
    const gene = parseInt(hex.substr(2 * i, 2), 16);
    text += gene ? space.levels[gene - 1] : '.';
  }
  return text;
}

// The shortest beginnings that tell the operators apart, at most two letters.
function letters(operators) {
  return operators.map(name => {
    const one = name[0].toUpperCase();
    const alike = operators.filter(other => other[0].toUpperCase() === one).length > 1;
    return alike ? one + (name.includes('_') ? name[name.indexOf('_') + 1] : name[1] || '') : one;
  });
}

// span: how many pixels of the output a position spans along a side.
const sizeText = span => (span === 1 ? 'full size' : `1/${span} size`);

function inWords(space, network) {
  const cells = network.cells.map(c =>
    `cell ${c.position}: ${sizeText(space.spans[c.level])}, ${space.operators[c.operator]}, ${c.inner} inner channels`);
  return `${cells.length} of ${space.n_cells} cells are used. ${cells.join('; ')}.`;
}

const LEFT = 78, CELL = 31, ROW = 62, TOP = 12, NODE = 25;

function drawNetwork(space, network) {
  const n = space.n_cells, width = LEFT + CELL * n + 34, bottom = TOP + ROW * space.levels.length;
  const svg = svgEl('svg', {viewBox: `0 0 ${width} ${bottom + 26}`, width, role: 'img', 'aria-label': inWords(space, network)});
  svg.style.setProperty('--w', `${width}px`);
  const x = i => LEFT + CELL * (i + 0.5) + 8, y = level => TOP + ROW * level + 20;
  space.spans.forEach((span, k) => drawLevel(svg, span, network.widths[k], y(k), width));
  svg.append(svgEl('text', {class: 'q', x: 0, y: bottom + 14, 'font-size': 10.5}, 'skipped'));
  const points = network.cells.map(c => [x(c.position), y(c.level)]);
  const first = points[0][1], last = points[points.length - 1][1];
  const line = [[LEFT - 2, first], ...points, [width - 6, last]].map(p => p.join(',')).join(' ');
  svg.append(svgEl('polyline', {points: line, fill: 'none', stroke: colour('quiet'), 'stroke-width': 2, 'stroke-linejoin': 'round'}));
  svg.append(svgEl('path', {d: `M${width - 9},${last - 4}l6,4l-6,4`, fill: 'none', stroke: colour('quiet'), 'stroke-width': 2}));
  const used = new Set(network.cells.map(c => c.position));
  for (let i = 0; i < n; i++) {
    if (!used.has(i)) svg.append(svgEl('circle', {cx: x(i), cy: bottom + 10, r: 3, fill: 'none', stroke: colour('quiet')}));
  }
  network.cells.forEach(c => drawCell(svg, space, c, x(c.position), y(c.level)));
  return svg;
}

function drawLevel(svg, span, width, y, right) {
  svg.append(svgEl('line', {x1: LEFT - 2, x2: right, y1: y, y2: y, stroke: colour('rule'), 'stroke-dasharray': '2 4'}));
  svg.append(svgEl('text', {x: 0, y: y - 1, 'font-size': 12}, sizeText(span)));
  svg.append(svgEl('text', {class: 'q', x: 0, y: y + 13, 'font-size': 10.5}, width ? `${width} channels` : 'not visited'));
}

function drawCell(svg, space, cell, x, y) {
  const fillColour = OPERATOR_COLOURS[cell.operator % OPERATOR_COLOURS.length];
  const mark = svgEl('g');
  mark.append(svgEl('title', {}, `cell ${cell.position}: ${space.operators[cell.operator]}, ${cell.inner} inner channels`));
  mark.append(svgEl('rect', {x: x - NODE / 2, y: y - NODE / 2, width: NODE, height: NODE, rx: 5, fill: fillColour, stroke: colour('ground'), 'stroke-width': 1.5}));
  const letter = svgEl('text', {x, y: y + 4, 'text-anchor': 'middle', 'font-size': 11.5, 'font-weight': 650}, letters(space.operators)[cell.operator]);
  letter.style.fill = inkOn(rgb(fillColour));
  mark.append(letter, svgEl('text', {class: 'q', x, y: y + NODE / 2 + 11, 'text-anchor': 'middle', 'font-size': 10}, cell.inner));
  svg.append(mark);
}

function operatorKey(space, network) {
  const used = [...new Set(network.cells.map(c => c.operator))].sort((a, b) => a - b);
  return el('ul', {class: 'key'}, ...used.map(i => {
    const fillColour = OPERATOR_COLOURS[i % OPERATOR_COLOURS.length];
    return el('li', {}, el('i', {text: letters(space.operators)[i], style: {background: fillColour, color: inkOn(rgb(fillColour))}}), space.operators[i]);
  }));
}

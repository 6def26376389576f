// Light and dark: the system's, until the button says otherwise.

const darkSystem = matchMedia('(prefers-color-scheme: dark)');

function chosenTheme() {
  try { return localStorage.getItem('evo_c2f-theme'); } catch { return null; }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').textContent = theme === 'dark' ? 'Light theme' : 'Dark theme';
}

function startTheme(redraw) {
  setTheme(chosenTheme() || (darkSystem.matches ? 'dark' : 'light'));
  $('theme').addEventListener('click', () => {
    const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('evo_c2f-theme', next); } catch { /* a file's page may not keep it */ }
    setTheme(next);
    redraw();
  });
  darkSystem.addEventListener('change', event => {
    if (chosenTheme()) return;
    setTheme(event.matches ? 'dark' : 'light');
    redraw();
  });
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Okabe and Ito's, told apart by all kinds of sight.
const OPERATOR_COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#999999'];

const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

function luminance(parts) {
  const [r, g, b] = parts.map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Black or white, whichever is read better on it.
const inkOn = parts => (luminance(parts) > 0.179 ? '#000000' : '#ffffff');

const mixed = (from, to, share) => rgb(from).map((v, i) => Math.round(v + (rgb(to)[i] - v) * share));

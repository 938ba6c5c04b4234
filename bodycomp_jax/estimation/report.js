'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const PAGE = 100;  // rows of the table that are shown at once
const RATINGS = {good: 'g', bad: 'b', other: 'o'};  // and their keys
const at = Object.fromEntries(data.columns.map((name, i) => [name, i]));
const isNumber = data.columns.map(name => name in data.units);
const identity = row => JSON.stringify(data.identity.map(name => row[at[name]] ?? ''));
const ratings = stored();
let shown = data.rows.map((_, i) => i);  // indices of rows, in the order of the table
let among = shown, chosen = 0, start = 0, sorting = {column: null, down: false};

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function svg(tag, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function text(value, column) {
  if (value === null || value === '') return '';
  return isNumber[column] ? String(Number(value.toPrecision(5))) : String(value);
}

function unit(name) {
  return data.units[name] === '1' ? '' : data.units[name] ?? '';
}

function cell(tag, value, column) {
  const shownText = text(value, column);
  return make(tag, {textContent: shownText, title: shownText,
    className: isNumber[column] ? 'number' : ''});
}

function link(label, act) {
  return make('button', {type: 'button', className: 'link', textContent: label, onclick: act});
}

function nameOf(i) {
  const row = data.rows[i];
  return [row[at.series], row[at.level]].filter(Boolean).join(', ');
}

// Ratings outlive the page in this browser, and the session in the file that is saved.

function stored() {
  try {
    return JSON.parse(localStorage.getItem(data.key)) || {};
  } catch {
    return {};
  }
}

function rate(change) {
  const key = identity(data.rows[chosen]);
  const rating = {rating: '', comment: '', ...ratings[key], ...change};
  if (rating.rating || rating.comment) ratings[key] = rating;
  else delete ratings[key];
  try {
    localStorage.setItem(data.key, JSON.stringify(ratings));
  } catch { /* a browser that stores nothing still saves the file */ }
  drawRated();
}

function quoted(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

function save() {
  const repeated = [...data.identity, 'z_mm'].filter(name => name in at);
  const lines = [[...repeated, 'rating', 'comment'].join(',')];
  for (const row of data.rows) {
    const rating = ratings[identity(row)];
    if (rating) {
      const values = [...repeated.map(name => row[at[name]]), rating.rating, rating.comment];
      lines.push(values.map(value => quoted(String(value ?? ''))).join(','));
    }
  }
  const file = new Blob([lines.join('\r\n') + '\r\n'], {type: 'text/csv'});
  const address = URL.createObjectURL(file);
  make('a', {href: address, download: 'ratings.csv'}).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// The table

function compare(column, down) {
  return (i, j) => {
    const [a, b] = [data.rows[i][column], data.rows[j][column]];
    const isEmpty = value => value === null || value === '';
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b) || i - j;  // unknown comes last
    const order = isNumber[column] ? a - b : String(a).localeCompare(b, 'en', {numeric: true});
    return (down ? -order : order) || i - j;
  };
}

function list(rows) {
  among = rows;
  const wanted = document.getElementById('find').value.toLowerCase();
  shown = among.filter(i => !wanted
    || data.rows[i].some((value, column) => text(value, column).toLowerCase().includes(wanted)));
  const {column, down} = sorting;
  shown.sort(column === null ? (i, j) => i - j : compare(column, down));
  start = 0;
  drawTable();
}

function sortBy(column) {
  sorting = {column, down: sorting.column === column && !sorting.down};
  list(among);
}

function drawTable() {
  const columns = data.shown.map(name => at[name]);
  const heads = columns.map(column => {
    const active = sorting.column === column;
    const head = make('th', {className: isNumber[column] ? 'number' : ''}, make('button', {
      type: 'button', onclick: () => sortBy(column),
      textContent: data.columns[column] + (active ? (sorting.down ? ' \u25bc' : ' \u25b2') : ''),
    }));
    head.setAttribute('aria-sort',
      active ? (sorting.down ? 'descending' : 'ascending') : 'none');
    return head;
  });
  const body = make('tbody', {}, ...shown.slice(start, start + PAGE).map(i => {
    const row = data.rows[i], rating = ratings[identity(row)];
    return make('tr', {onclick: () => choose(i), className: i === chosen ? 'chosen' : ''},
      make('td', {textContent: rating ? rating.rating || 'comment' : ''}),
      ...columns.map(column => cell('td', row[column], column)));
  }));
  const turn = by => () => { start += by; drawTable(); };
  const end = Math.min(start + PAGE, shown.length);
  document.getElementById('list').replaceChildren(
    make('table', {}, make('thead', {}, make('tr', {}, make('th', {textContent: 'rating'}),
      ...heads)), body),
    make('div', {className: 'row'},
      make('button', {type: 'button', textContent: 'Back', disabled: !start, onclick: turn(-PAGE)}),
      make('span', {textContent: `${shown.length ? start + 1 : 0} to ${end} of ${shown.length}`}),
      make('button', {type: 'button', textContent: 'Next', disabled: end === shown.length,
        onclick: turn(PAGE)})));
}

function drawRated() {
  const count = Object.keys(ratings).length;
  document.getElementById('rated').textContent = `${count} of ${data.rows.length} rated`;
  drawTable();
  for (const button of document.querySelectorAll('#case [data-rating]')) {
    const rating = ratings[identity(data.rows[chosen])];
    button.setAttribute('aria-pressed', rating?.rating === button.dataset.rating);
  }
}

// The case

function choose(i) {
  chosen = i;
  const place = shown.indexOf(i);
  if (place >= 0) start = place - place % PAGE;
  drawCase();
  drawRated();
  document.querySelector('#list .chosen')?.scrollIntoView({block: 'nearest'});
}

function step(by) {
  const next = shown[shown.indexOf(chosen) + by];
  if (next !== undefined) choose(next);
}

function picture(i) {
  const inside = document.getElementById(`picture-${i}`);
  if (inside) return `data:image/jpeg;base64,${inside.textContent}`;
  return data.links[i];
}

function drawCase() {
  const row = data.rows[chosen], rating = ratings[identity(row)];
  const source = picture(chosen);
  const buttons = Object.entries(RATINGS).map(([name, key]) => {
    const button = make('button', {type: 'button', textContent: name, title: `key ${key}`,
      onclick: () => rate({rating: ratings[identity(row)]?.rating === name ? '' : name})});
    button.dataset.rating = name;
    return button;
  });
  const comment = make('input', {id: 'comment', placeholder: 'comment', maxLength: 1000,
    value: rating?.comment || '', oninput: event => rate({comment: event.target.value})});
  const values = data.columns.map((name, column) => [name, column])
    .filter(([, column]) => text(row[column], column) !== '')
    .map(([name, column]) => make('tr', {}, make('th', {textContent: name}),
      cell('td', row[column], column),
      make('td', {className: 'quiet', textContent: unit(name)})));
  document.getElementById('case').replaceChildren(
    make('strong', {textContent: nameOf(chosen)}),
    make('div', {className: 'row'}, ...buttons, comment),
    source ? make('img', {src: source, alt: `preview of ${nameOf(chosen)}`})
      : make('p', {className: 'quiet', textContent: 'no preview'}),
    make('table', {}, ...values));
}

// The cohort

function toCases() {
  document.querySelector('main').scrollIntoView();
}

function drawHistogram({title, column, level, edges, counts, outliers}) {
  const [width, height, gap] = [234, 70, 1], most = Math.max(...counts);
  const bars = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img'});
  const step = width / counts.length;
  const value = i => data.rows[i][at[column]];
  counts.forEach((count, bin) => {
    if (!count) return;
    const [low, high] = [edges[bin], edges[bin + 1]], last = bin === counts.length - 1;
    const bar = svg('rect', {x: bin * step, width: step - gap, height: height * count / most,
      y: height - height * count / most});
    bar.append(svg('title', {}));
    bar.firstChild.textContent = `${count}: ${low.toPrecision(4)} to ${high.toPrecision(4)}`;
    bar.onclick = () => {
      list(data.rows.flatMap((row, i) => row[at.level] === level
        && value(i) !== null && value(i) >= low && (last || value(i) < high) ? [i] : []));
      toCases();
    };
    bars.append(bar);
  });
  const links = outliers.flatMap(i => [
    link(`${text(value(i), at[column])} (${nameOf(i)})`, () => {
      choose(i);
      toCases();
    }), make('br', {})]);
  const caption = [title, unit(column)].filter(Boolean).join(', ');
  return make('figure', {}, make('figcaption', {textContent: caption}),
    bars, make('div', {className: 'ends quiet'},
      make('span', {textContent: edges[0].toPrecision(4)}),
      make('span', {textContent: edges.at(-1).toPrecision(4)})),
    make('div', {className: 'outliers'}, ...links));
}

function drawCounts() {
  const counts = {};
  for (const row of data.rows) counts[row[at.status]] = (counts[row[at.status]] || 0) + 1;
  document.getElementById('counts').replaceChildren(
    ...Object.entries(counts).flatMap(([status, count]) => [link(`${count} ${status}`,
      () => list(data.rows.flatMap((row, i) => String(row[at.status]) === status ? [i] : []))),
    ' \u00a0']));
}

function pressed(event) {
  if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey) return;
  const rating = Object.keys(RATINGS).find(name => RATINGS[name] === event.key);
  if (rating) document.querySelector(`#case [data-rating=${rating}]`).click();
  const by = {ArrowDown: 1, j: 1, ArrowUp: -1, k: -1}[event.key];
  if (by) step(by);
  if (by) event.preventDefault();
}

document.getElementById('find').oninput = () => list(among);
document.getElementById('save').onclick = save;
document.getElementById('all').onclick = () => {
  document.getElementById('find').value = '';
  sorting = {column: null, down: false};
  list(data.rows.map((_, i) => i));
};
document.addEventListener('keydown', pressed);
document.getElementById('histograms').append(...data.histograms.map(drawHistogram));
drawCounts();
if (data.rows.length) choose(0);

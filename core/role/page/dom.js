// Elements, words for numbers, and what every view shows alike: states, tables, commands.

export function el(tag, props, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(props || {})) {
		if (value === undefined || value === null || value === false)
			continue;
		if (name.startsWith('on'))
			node.addEventListener(name.slice(2), value);
		else if (name === 'text')
			node.textContent = value;
		else
			node.setAttribute(name, value === true ? '' : value);
	}
	node.append(...children.filter((child) => child !== null && child !== undefined));
	return node;
}

export function svg(tag, props, ...children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(props || {}))
		node.setAttribute(name, value);
	node.append(...children);
	return node;
}

// Writes only what differs: a row that did not change costs nothing to lay out.
export function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

// A state is a word, a symbol of its own shape, and a colour: never the colour alone.
const symbols = {
	up: 'M2.5 6.5 5 9l4.5-6',
	unchecked: 'M6 2.2a3.8 3.8 0 1 0 .01 0z',
	unknown: 'M4 4.2A2 2 0 1 1 6 6.4V7.4M6 9.8v.2',
	degraded: 'M6 2 10.5 10h-9zM6 5v2.2M6 8.6v.2',
	draining: 'M6 1.5v7M3 6l3 3.2L9 6',
	drain: 'M6 1.5v7M3 6l3 3.2L9 6M2.5 11h7',
	disabled: 'M4.2 2.5v7M7.8 2.5v7',
	unused: 'M2.5 6h7',
	sorry: 'M6 1.5 10.5 6 6 10.5 1.5 6z',
	down: 'M2.5 2.5l7 7M9.5 2.5l-7 7',
};
export const severity = {
	up: 'good', unchecked: 'good', unknown: 'quiet', degraded: 'warn', draining: 'warn', drain: 'warn',
	disabled: 'quiet', unused: 'quiet', sorry: 'bad', down: 'bad',
};
// What a list that puts the worst first goes by.
const order = ['down', 'sorry', 'degraded', 'draining', 'drain', 'unknown', 'disabled', 'unused', 'unchecked', 'up'];
export const rank = (state) => order.indexOf(state);
export const isWrong = (state) => ['down', 'sorry', 'degraded', 'draining', 'drain'].includes(state);

export function symbol(state) {
	return svg('svg', { viewBox: '0 0 12 12', class: `symbol ${severity[state] || 'quiet'}`, 'aria-hidden': 'true' },
		svg('path', { d: symbols[state] || symbols.unknown }));
}

export function badge(state) {
	return el('span', { class: `badge ${severity[state] || 'quiet'}`, 'data-state': state }, symbol(state), state);
}

// Replaces a badge only when its state is another one.
export function setBadge(cell, state) {
	if (cell.firstChild?.dataset?.state !== state)
		cell.replaceChildren(badge(state));
}

export function number(n) {
	if (n === null || n === undefined || Number.isNaN(n))
		return '–';
	if (n >= 1e7)
		return `${(n / 1e6).toFixed(1)} M`;
	return n >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString('en').replaceAll(',', '\u202f') : n.toFixed(1);
}

export function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit++)
		n /= 1024;
	return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function micros(us) {
	if (!us)
		return '–';
	return us < 1000 ? `${Math.round(us)} µs` : us < 1e6 ? `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

export function age(ms) {
	if (ms < 0)
		ms = 0;
	const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
	return d ? `${d} d ${h % 24} h` : h ? `${h} h ${m % 60} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
}

export function clock(ms) {
	const date = new Date(ms), two = (n) => String(n).padStart(2, '0');
	const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
	if (date.toDateString() === new Date().toDateString())
		return time;
	return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

export async function get(path) {
	const answer = await fetch(path, { cache: 'no-store' });
	const type = answer.headers.get('Content-Type') || '';
	const body = type.startsWith('application/json') ? await answer.json() : await answer.text();
	if (answer.status === 401)
		dispatchEvent(new Event('steelyard-login'));
	if (!answer.ok)
		throw new Error(body.error || `${path}: ${answer.status}`);
	return body;
}

// A table whose cells carry their column's name, for the narrow layout. columns: [name, class].
export function table(className, columns, rows, caption) {
	return el('table', { class: className },
		caption ? el('caption', { text: caption }) : null,
		el('thead', {}, el('tr', {}, ...columns.map(([name, kind]) => el('th', { scope: 'col', class: kind, text: name })))),
		el('tbody', {}, ...rows));
}

export function row(columns, cells, props) {
	return el('tr', props, ...cells.map((cell, i) =>
		el('td', { class: columns[i][1], 'data-label': columns[i][0] },
			cell instanceof Node ? cell : String(cell ?? ''))));
}

// A command to take to a terminal.
export function command(text, what) {
	const code = el('code', { text });
	const button = el('button', { type: 'button', class: 'copy', 'aria-label': `Copy: ${text}`, text: 'Copy' });
	button.addEventListener('click', async () => {
		try {
			await navigator.clipboard.writeText(text);
			button.textContent = 'Copied';
		} catch {
			getSelection().selectAllChildren(code);
			button.textContent = 'Selected';
		}
		setTimeout(() => { button.textContent = 'Copy'; }, 1500);
	});
	return el('li', {}, what ? el('span', { class: 'what', text: what }) : null, code, button);
}

// Words for the shell; names of the configuration seldom need the quotes.
export const quoted = (word) => (/^[\w.:@%+=,/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

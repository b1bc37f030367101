// Small charts, drawn as SVG without anybody's help.
import { el, svg, get, number, bytes, micros } from './dom.js';

function line(values, width, height, top) {
	let path = '', pen = false;
	values.forEach((value, i) => {
		if (value === null) {
			pen = false;
			return;
		}
		const x = (values.length > 1 ? (i / (values.length - 1)) * width : 0).toFixed(1);
		const y = (height - 1 - (value / top) * (height - 2)).toFixed(1);
		path += `${pen ? 'L' : 'M'}${x} ${y}`;
		pen = true;
	});
	return path;
}

export function spark(values) {
	const top = Math.max(0.001, ...values.filter((value) => value !== null));
	return svg('svg', { viewBox: '0 0 90 20', class: 'spark', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
		svg('path', { d: line(values, 90, 20, top) }));
}

// A round number at or above the greatest value; bytes are round in their own units.
function ceiling(value, base) {
	let power = 10 ** Math.floor(Math.log10(value));
	if (base === 1024) {
		const unit = 1024 ** Math.max(0, Math.floor(Math.log2(value) / 10));
		power = unit * 10 ** Math.floor(Math.log10(value / unit));
	}
	for (const step of [1, 2, 5, 10])
		if (step * power >= value)
			return step * power;
	return value;
}

export function chart(title, values, format, span, base) {
	const known = values.filter((value) => value !== null);
	const most = Math.max(...known, 0);
	const top = most > 0 ? ceiling(most, base) : 1;
	const last = known.length ? known[known.length - 1] : null;
	const words = known.length
		? `${title}, last ${span}: now ${format(last)}, at most ${format(most)}` : `${title}: nothing measured yet`;
	const path = line(values, 240, 56, top);
	return el('figure', { class: 'chart' },
		el('figcaption', {}, title, el('b', { text: last === null ? '–' : format(last) })),
		svg('svg', { viewBox: '0 0 240 56', preserveAspectRatio: 'none', role: 'img', 'aria-label': words },
			svg('path', { class: 'grid', d: 'M0 1H240M0 28H240M0 55H240' }),
			svg('path', { class: 'line', d: path })),
		el('div', { class: 'scale' }, el('span', { text: span === 'day' ? 'a day ago' : 'an hour ago' }), el('span', { text: `top ${format(top)}` }), el('span', { text: 'now' })));
}

const metrics = [
	['Connections', 'active', (value) => number(value)],
	['New per second', 'rate', (value) => number(value)],
	['To clients', 'bytes_down', (value) => `${bytes(value)}/s`, 1024],
	['To servers', 'bytes_up', (value) => `${bytes(value)}/s`, 1024],
	['Response time', 'response_us', (value) => micros(value)],
];

// A strip of charts that loads itself; service undefined: all together.
export function charts(service) {
	let span = 'hour';
	const strip = el('div', { class: 'strip' });
	const buttons = ['hour', 'day'].map((name) => el('button', {
		type: 'button', 'aria-pressed': String(name === span), text: `Last ${name}`,
		onclick: () => {
			span = name;
			buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(['hour', 'day'][i] === span)));
			refresh();
		},
	}));
	async function refresh() {
		const query = new URLSearchParams({ span, ...(service ? { service } : {}) });
		try {
			const history = await get(`v1/history?${query}`);
			strip.replaceChildren(...metrics.map(([title, name, format, base]) => chart(title, history[name], format, span, base)));
		} catch (error) {
			strip.replaceChildren(el('p', { class: 'note', text: error.message }));
		}
	}
	refresh();
	const node = el('details', { class: 'charts', open: innerWidth > 760 },
		el('summary', { text: service ? `Charts of ${service}` : 'Charts of all services' }),
		el('div', { class: 'switch', role: 'group', 'aria-label': 'Span of time' }, ...buttons), strip);
	return { node, refresh };
}

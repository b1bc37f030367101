// The list of services; each opens to its servers, charts and ways to end.
import { el, svg, setText, setBadge, rank, isWrong, severity, number, bytes, micros, age, get, command, quoted } from './dom.js';
import { model, now } from './model.js';
import { spark, charts } from './chart.js';
import { changeButton, seatPlaces } from './change.js';
import { mayOperate } from './session.js';

const CHUNK = 80; // rows that are made at once; the others as one scrolls to them
const columns = [['State', 'state'], ['Service', 'name'], ['Addresses', 'addresses'], ['Servers', 'pips'],
	['Active', 'n'], ['New/s', 'n'], ['Bytes/s', 'n'], ['Response', 'n'], ['Last hour', 'trend']];
const seatColumns = [['State', 'state'], ['Server', 'name'], ['Why', 'why'], ['Since', 'since'], ['Weight', 'n'],
	['Active', 'n'], ['New/s', 'n'], ['Total', 'n'], ['To clients', 'n'], ['Check', 'n'], ['', 'act']];
const sorts = {
	'worst first': (a, b) => rank(a.state) - rank(b.state) || a.index - b.index,
	'as configured': (a, b) => a.index - b.index,
	name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
	connections: (a, b) => b.active - a.active || a.index - b.index,
	'new per second': (a, b) => b.rate - a.rate || a.index - b.index,
	'bytes per second': (a, b) => b.up + b.down - a.up - a.down || a.index - b.index,
	'response time': (a, b) => b.response - a.response || a.index - b.index,
};

// A mark for each server: a bar while it takes clients, a stub while it drains or rests, a cross when down.
function pips(service) {
	const own = service.seats.filter((seat) => !seat.sorry), shapes = {};
	const width = Math.max(4, Math.min(7, 120 / own.length));
	own.forEach((seat, i) => {
		const x = i * width, kind = severity[seat.state], inner = width - 2;
		const d = kind === 'good' ? `M${x} 1h${inner}v10h-${inner}z` : kind === 'bad'
			? `M${x} 2l${inner} 8M${x + inner} 2l-${inner} 8` : `M${x} 6h${inner}v5h-${inner}z`;
		shapes[kind] = (shapes[kind] || '') + d;
	});
	return svg('svg', { viewBox: `0 0 ${own.length * width} 12`, width: own.length * width, height: 12, class: 'marks', 'aria-hidden': 'true' },
		...Object.entries(shapes).map(([kind, d]) => svg('path', { class: kind, d })));
}

// One entry for each address, with all its ports: 203.0.113.10:443 5061
function addresses(listeners) {
	const ports = new Map();
	for (const text of listeners) {
		const [, ip, port] = /^(.*):(\d+(?:\/udp)?)$/.exec(text) || [null, text, ''];
		ports.set(ip, [...(ports.get(ip) || []), port]);
	}
	return [...ports].map(([ip, list]) => `${ip}:${list.slice(0, 3).join(' ')}${list.length > 3 ? ` (+${list.length - 3})` : ''}`);
}

function upText(service) {
	const own = service.seats.filter((seat) => !seat.sorry);
	return `${own.filter((seat) => severity[seat.state] === 'good' || seat.state === 'unknown').length} of ${own.length}`;
}

function commands(seat) {
	const name = quoted(seat.server.name), where = ` --service ${quoted(seat.service.name)}`;
	const list = seat.state === 'drain' || seat.state === 'disabled'
		? [command(`steelyardctl enable ${name}${where}`, 'Take new clients again, in this service')]
		: [command(`steelyardctl drain ${name}${where}`, `No new clients, in this service; ${number(seat.active)} connections live on`),
			command(`steelyardctl drain ${name}`, `The same in every service (${seat.server.seats.length})`),
			command(`steelyardctl disable ${name}${where}`, 'Nothing new at all, persistence included')];
	return el('ul', { class: 'commands' }, ...list,
		command(`steelyardctl connections --service ${quoted(seat.service.name)} --server ${name}`, 'List its connections'));
}

// What the protocol counts: of the service, and of each server.
function figures(full) {
	const told = full.servers.filter((server) => server.figures);
	return el('table', { class: 'figures' }, el('caption', { text: `What ${full.protocol} counts` }),
		el('thead', {}, el('tr', {}, el('th', { scope: 'col', text: 'Figure' }), el('th', { scope: 'col', class: 'n', text: 'All' }),
			...told.map((server) => el('th', { scope: 'col', class: 'n', text: server.name })))),
		el('tbody', {}, ...Object.entries(full.figures).map(([name, n]) => el('tr', {}, el('th', { scope: 'row', text: name.replaceAll('_', ' ') }),
			el('td', { class: 'n', text: number(n) }), ...told.map((server) => el('td', { class: 'n', text: number(server.figures[name] ?? 0) }))))));
}

class SeatRow {
	constructor(seat) {
		this.seat = seat;
		this.cells = seatColumns.map(([name, kind]) => el('td', { class: kind, 'data-label': name }));
		this.cells[1].append(el('b', { text: seat.server.name }), el('small', { text: seat.sorry ? `${seat.server.address} · sorry pool` : seat.server.pool !== seat.service.pool ? `${seat.server.address} · ${seat.server.pool}` : seat.server.address }));
		this.button = el('button', { type: 'button', 'aria-expanded': 'false', text: 'Commands', onclick: () => this.toggle() });
		this.cells[10].append(mayOperate() ? changeButton(seat.server.name, () => seatPlaces(seat), () => [seat.state, seat.weight]) : this.button);
		this.node = el('tr', { title: seat.server.where }, ...this.cells);
		this.more = el('tr', { class: 'more', hidden: true }, el('td', { colspan: seatColumns.length }));
		this.detail = null;
		this.update();
	}

	toggle() {
		this.more.hidden = !this.more.hidden;
		this.button.setAttribute('aria-expanded', String(!this.more.hidden));
		this.more.firstChild.replaceChildren(...(this.more.hidden ? [] : [commands(this.seat)]));
	}

	update() {
		const { seat, cells, detail } = this, since = seat.since || detail?.since;
		setBadge(cells[0], seat.state);
		setText(cells[2], seat.why || detail?.why || '');
		setText(cells[3], since ? age(now() - since) : '–');
		setText(cells[4], String(seat.weight));
		setText(cells[5], number(seat.active));
		setText(cells[6], number(seat.rate));
		setText(cells[7], detail ? number(detail.total) : '…');
		setText(cells[8], detail ? bytes(detail.bytes_down) : '…');
		setText(cells[9], detail ? micros(detail.latency_us) : '…');
	}
}

class Detail {
	constructor(service) {
		this.service = service;
		this.rows = service.seats.map((seat) => new SeatRow(seat));
		this.why = el('p', { class: 'reason' });
		this.reasons = el('div', { class: 'endings' });
		this.figures = el('div', { class: 'wide', role: 'region', tabindex: '0', 'aria-label': 'Figures of the protocol' });
		this.charts = charts(service.name);
		const facts = [['Addresses', service.listeners.join('  ')], ['Pool', service.pool + (service.sorry ? `, sorry ${service.sorry}` : '')],
			['Protocol', service.protocol], ['Scheduler', service.scheduler], ['Persistence', service.persistence || 'none'],
			['Monitors', service.monitors.join(', ') || 'none: servers count as up'], ['Wanted up', String(service.minimum_up || 1)],
			['Configured in', `${service.file}:${service.line}`]];
		this.node = el('div', { class: 'detail' }, this.why,
			el('dl', { class: 'facts' }, ...facts.flatMap(([name, value]) => [el('div', {}, el('dt', { text: name }), el('dd', { text: value }))])),
			el('table', { class: 'seats stack' },
				el('thead', {}, el('tr', {}, ...seatColumns.map(([name, kind]) => el('th', { scope: 'col', class: kind }, name || el('span', { class: 'hidden', text: 'Commands' }))))),
				el('tbody', {}, ...this.rows.flatMap((row) => [row.node, row.more]))),
			this.charts.node, this.figures, this.reasons);
		this.update();
		this.refresh();
	}

	update() {
		setText(this.why, this.service.why);
		this.why.hidden = !this.service.why;
		this.rows.forEach((row) => row.update());
	}

	async refresh() {
		let full;
		try {
			full = await get(`v1/services/${encodeURIComponent(this.service.name)}`);
		} catch {
			return;
		}
		full.servers.forEach((detail, i) => {
			if (this.rows[i]?.seat.server.name === detail.name)
				this.rows[i].detail = detail;
		});
		this.figures.replaceChildren(...(full.figures ? [figures(full)] : []));
		const reasons = Object.entries(full.reasons).sort((a, b) => b[1] - a[1]);
		this.reasons.replaceChildren(el('h2', { text: 'How connections ended' }), reasons.length
			? el('ul', {}, ...reasons.map(([name, n]) => el('li', {}, el('b', { text: number(n) }), ` ${name}`)))
			: el('p', { class: 'note', text: 'None has ended yet.' }));
		this.update();
	}
}

class ServiceRow {
	constructor(service, trend) {
		this.service = service;
		this.cells = columns.map(([name, kind]) => el('td', { class: kind, 'data-label': name }));
		this.button = el('button', { type: 'button', class: 'open', 'aria-expanded': 'false', onclick: () => this.toggle() });
		this.button.append(el('b', { text: service.name }), el('small', { text: service.protocol }));
		this.cells[1].append(this.button);
		const [first, ...rest] = addresses(service.listeners);
		this.cells[2].append(el('span', { text: first || 'none' }),
			...(rest.length ? [' ', el('small', { text: `and ${rest.length} more`, title: rest.join('\n') })] : []));
		this.node = el('tr', { 'data-service': service.name }, ...this.cells);
		this.more = el('tr', { class: 'more', hidden: true }, el('td', { colspan: columns.length }));
		this.nodes = [this.node, this.more];
		this.marks = '';
		this.update();
		this.trend(trend);
	}

	toggle() {
		const open = this.more.hidden;
		this.more.hidden = !open;
		this.button.setAttribute('aria-expanded', String(open));
		this.detail = open ? new Detail(this.service) : null;
		this.more.firstChild.replaceChildren(...(open ? [this.detail.node] : []));
	}

	trend(values) {
		this.cells[8].replaceChildren(...(values ? [spark(values)] : []));
	}

	update() {
		const { service, cells } = this, marks = service.seats.map((seat) => severity[seat.state]).join();
		if (this.node.dataset.state !== service.state)
			this.node.dataset.state = service.state;
		setBadge(cells[0], service.state);
		if (marks !== this.marks) {
			this.marks = marks;
			cells[3].replaceChildren(pips(service), el('span', { text: upText(service) }));
		}
		setText(cells[4], number(service.active));
		setText(cells[5], number(service.rate));
		setText(cells[6], bytes(service.up + service.down));
		setText(cells[7], micros(service.response));
		this.detail?.update();
	}
}

export class Services {
	constructor() {
		this.title = 'Services';
		this.sorts = Object.keys(sorts);
		this.sort = this.sorts[0];
		this.rows = new Map();
		this.trends = {};
		this.charts = charts();
		this.body = el('tbody');
		this.count = el('p', { class: 'note', role: 'status' });
		this.end = el('div', { class: 'end' });
		this.node = el('div', {}, this.charts.node, this.count,
			el('table', { class: 'services stack' },
				el('thead', {}, el('tr', {}, ...columns.map(([name, kind]) => el('th', { scope: 'col', class: kind, text: name })))), this.body),
			this.end);
		this.shown = CHUNK;
		this.beats = 0;
		new IntersectionObserver((entries) => {
			if (entries[0].isIntersecting && this.list && this.shown < this.list.length) {
				this.shown += CHUNK;
				this.place();
			}
		}, { rootMargin: '600px' }).observe(this.end);
	}

	// After a load all services are other objects; what was open stays open.
	reset() {
		const open = [...this.rows.values()].filter((row) => row.detail).map((row) => row.service.name);
		this.rows.clear();
		model.services.forEach((service, index) => { service.index = index; });
		this.arrange();
		for (const row of this.rows.values())
			if (open.includes(row.service.name))
				row.toggle();
		this.loadTrends();
	}

	async loadTrends() {
		try {
			this.trends = (await get('v1/history/services')).rate;
		} catch {
			return;
		}
		for (const row of this.rows.values())
			row.trend(this.trends[row.service.name]);
	}

	filter(search, wrong) {
		this.search = search;
		this.wrong = wrong;
		this.shown = CHUNK;
		this.arrange();
	}

	arrange() {
		const words = (this.search || '').toLowerCase().split(/\s+/).filter(Boolean);
		this.list = model.services.filter((service) => (!this.wrong || isWrong(service.state)
			|| service.seats.some((seat) => isWrong(seat.state))) && words.every((word) => service.text.includes(word) || service.state === word));
		this.list.sort(sorts[this.sort]);
		this.place();
	}

	place() {
		const list = this.list.slice(0, this.shown), nodes = [];
		for (const service of list) {
			let row = this.rows.get(service);
			if (!row) {
				row = new ServiceRow(service, this.trends[service.name]);
				this.rows.set(service, row);
			}
			row.update();
			nodes.push(...row.nodes);
		}
		const now = this.body.children;
		if (now.length !== nodes.length || nodes.some((node, i) => now[i] !== node))
			this.body.replaceChildren(...nodes);
		const n = model.services.length;
		setText(this.count, this.list.length === n ? `${n} services` : this.list.length
			? `${this.list.length} of ${n} services` : this.wrong && !this.search ? 'Nothing is wrong.' : `None of ${n} services fits.`);
	}

	update(told) {
		for (const service of told.changed) {
			const row = this.rows.get(service);
			if (row?.node.isConnected)
				row.update();
		}
		for (const row of this.rows.values())
			if (row.detail)
				row.detail.update();
		if (++this.beats % 5 === 0 || [...told.changed].some((service) => this.rows.get(service)?.placed !== service.state)) {
			for (const service of told.changed)
				if (this.rows.has(service))
					this.rows.get(service).placed = service.state;
			this.arrange();
		}
		if (this.beats % 5 === 0)
			for (const row of this.rows.values())
				row.detail?.refresh();
		if (this.beats % 20 === 0) {
			this.charts.refresh();
			for (const row of this.rows.values())
				row.detail?.charts.refresh();
		}
		if (this.beats % 60 === 0)
			this.loadTrends();
	}
}


// Servers across all services: a server that fails is seen everywhere at once.
import { el, setText, symbol, badge, rank, isWrong } from './dom.js';
import { model } from './model.js';
import { changeButton } from './change.js';

const COLUMNS = 30; // services that fit side by side; with more, each server lists its own
const CHUNK = 60;
const CHIPS = 12;

// The same machine in several pools is one: by name and address.
function gather() {
	const machines = new Map();
	for (const server of model.servers) {
		const key = `${server.name} ${server.address}`;
		if (!machines.has(key))
			machines.set(key, { key, name: server.name, address: server.address, pools: [], seats: [], index: machines.size });
		const machine = machines.get(key);
		machine.pools.push(server.pool);
		machine.seats.push(...server.seats);
	}
	return [...machines.values()];
}

function judge(machine) {
	machine.bad = machine.seats.filter((seat) => seat.state === 'down').length;
	machine.wrong = machine.seats.filter((seat) => isWrong(seat.state)).length;
	machine.active = machine.seats.reduce((n, seat) => n + seat.active, 0);
	machine.worst = machine.seats.reduce((worst, seat) => (rank(seat.state) < rank(worst) ? seat.state : worst), 'up');
	const n = machine.seats.length;
	machine.words = !n ? 'in no service' : !machine.wrong ? `well in ${n === 1 ? 'its service' : `all ${n} services`}`
		: `${machine.worst} in ${machine.wrong === n ? (n === 1 ? 'its only service' : `all ${n} services`) : `${machine.wrong} of ${n} services`}`;
}

const sorts = {
	'worst first': (a, b) => rank(a.worst) - rank(b.worst) || b.wrong - a.wrong || a.index - b.index,
	'as configured': (a, b) => a.index - b.index,
	name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
	connections: (a, b) => b.active - a.active || a.index - b.index,
};

const told = (seat) => `${seat.server.name} in ${seat.service.name}: ${seat.state}${seat.why ? `, ${seat.why}` : ''}`;

function why(machine) {
	const reasons = new Set(machine.seats.filter((seat) => isWrong(seat.state) && seat.why).map((seat) => seat.why));
	return [...reasons].slice(0, 3).join('; ');
}

const places = (machine) => machine.pools.map((pool) => ({ pool,
	words: `in all services of pool ${pool} (${machine.seats.filter((seat) => seat.server.pool === pool).length})` }))
	.concat(machine.seats.map((seat) => ({ pool: seat.server.pool, service: seat.service.name, words: `in ${seat.service.name} only` })));

export class Machines {
	constructor() {
		this.title = 'Servers';
		this.sorts = Object.keys(sorts);
		this.sort = this.sorts[0];
		this.search = '';
		this.count = el('p', { class: 'note', role: 'status' });
		this.place = el('div', { class: 'wide', role: 'region', tabindex: '0', 'aria-label': 'Servers and services' });
		this.end = el('div', { class: 'end' });
		this.node = el('div', {}, this.count, this.place, this.end);
		this.shown = CHUNK;
		new IntersectionObserver((entries) => {
			if (entries[0].isIntersecting && this.list && this.shown < this.list.length) {
				this.shown += CHUNK;
				this.draw();
			}
		}, { rootMargin: '600px' }).observe(this.end);
	}

	reset() {
		this.machines = gather();
		this.arrange();
	}

	filter(search, wrong) {
		this.search = search;
		this.wrong = wrong;
		this.shown = CHUNK;
		this.arrange();
	}

	arrange() {
		const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
		this.machines.forEach(judge);
		this.list = this.machines.filter((machine) => {
			const text = [machine.name, machine.address, ...machine.pools, ...machine.seats.map((seat) => seat.service.name)].join(' ').toLowerCase();
			return (!this.wrong || machine.wrong) && words.every((word) => text.includes(word) || machine.worst === word);
		});
		this.list.sort(sorts[this.sort]);
		const bad = this.machines.filter((machine) => machine.wrong).length;
		setText(this.count, `${this.list.length} of ${this.machines.length} servers; ${bad ? `${bad} with something wrong` : 'all of them well'}`);
		this.draw();
	}

	head(machine) {
		return el('th', { scope: 'row' }, badge(machine.seats.length ? machine.worst : 'unused'),
			...[el('b', { text: machine.name }), el('small', { text: `${machine.address} · ${machine.words}` }), machine.seats.length ? changeButton(machine.name, () => places(machine),
			() => [machine.worst, machine.seats[0].weight]) : null].filter(Boolean));
	}

	draw() {
		const list = this.list.slice(0, this.shown);
		const services = model.services.filter((service) => list.some((machine) => machine.seats.some((seat) => seat.service === service)));
		this.place.replaceChildren(services.length <= COLUMNS ? this.grid(list, services) : this.lines(list));
	}

	grid(list, services) {
		return el('table', { class: 'grid' },
			el('thead', {}, el('tr', {}, el('th', { scope: 'col', text: 'Server' }), el('th', { scope: 'col', class: 'n', text: 'Active' }),
				...services.map((service) => el('th', { scope: 'col', class: 'turned' }, el('span', { text: service.name }))),
				el('th', { scope: 'col', text: 'Why' }))),
			el('tbody', {}, ...list.map((machine) => el('tr', { 'data-server': machine.name, 'data-state': machine.worst },
				this.head(machine), el('td', { class: 'n', text: String(machine.active) }),
				...services.map((service) => {
					const seat = machine.seats.find((each) => each.service === service);
					return el('td', { class: 'mark', title: seat ? told(seat) : `not in ${service.name}` },
						...(seat ? [symbol(seat.state), el('span', { class: 'hidden', text: seat.state })] : []));
				}),
				el('td', { class: 'why', text: why(machine) })))));
	}

	lines(list) {
		return el('table', { class: 'grid' },
			el('thead', {}, el('tr', {}, el('th', { scope: 'col', text: 'Server' }), el('th', { scope: 'col', class: 'n', text: 'Active' }),
				el('th', { scope: 'col', text: 'Services' }), el('th', { scope: 'col', text: 'Why' }))),
			el('tbody', {}, ...list.map((machine) => {
				const seats = machine.seats.slice().sort((a, b) => rank(a.state) - rank(b.state)), rest = seats.length - CHIPS;
				return el('tr', { 'data-server': machine.name, 'data-state': machine.worst },
					this.head(machine), el('td', { class: 'n', text: String(machine.active) }),
					el('td', { class: 'chips' }, ...seats.slice(0, CHIPS).map((seat) =>
						el('span', { class: 'chip', title: told(seat) }, symbol(seat.state), seat.service.name, el('span', { class: 'hidden', text: ` ${seat.state}` }))),
						rest > 0 ? el('small', { text: `and ${rest} more` }) : null),
					el('td', { class: 'why', text: why(machine) }));
			})));
	}

	// Cheap to compare, dear to draw: only when a state changed, and the numbers now and then.
	update(told) {
		this.prints ||= new Map();
		let differs = false;
		for (const service of told.changed) {
			const states = service.seats.map((seat) => seat.state + seat.why).join();
			differs ||= this.prints.get(service.name) !== states;
			this.prints.set(service.name, states);
		}
		this.beats = (this.beats || 0) + 1;
		if (differs || (this.beats % 5 === 0 && told.changed.size))
			this.arrange();
	}
}

// What is known: loaded whole from /v1/live, kept fresh by /v1/stream. Values in events are absolute
// and each event has the number of its measurement: one that is missed means loading the whole again.
import { get, isWrong } from './dom.js';

export const model = {
	ready: false, n: 0, generation: 0, started: 0, version: '', host: '', offset: 0, last: 0,
	services: [], seats: [], servers: [], events: [], totals: { active: 0, rate: 0, up: 0, down: 0 },
};

let listener = () => {};
let loading = null;
let early = [];

function applySeat(seat, values) {
	const [, state, active, rate, weight, why, since] = values;
	seat.state = model.states[state];
	seat.active = active;
	seat.rate = rate / 10;
	seat.weight = weight;
	if (why !== undefined) {
		seat.why = why;
		seat.since = since;
	} else if (!isWrong(seat.state)) {
		seat.why = '';
	}
}

function applyService(service, values) {
	const [, state, active, rate, up, down, response, why] = values;
	service.state = model.states[state];
	service.active = active;
	service.rate = rate / 10;
	service.up = up;
	service.down = down;
	service.response = response;
	if (why !== undefined)
		service.why = why;
}

function sum() {
	const totals = { active: 0, rate: 0, up: 0, down: 0 };
	for (const service of model.services) {
		totals.active += service.active;
		totals.rate += service.rate;
		totals.up += service.up;
		totals.down += service.down;
	}
	model.totals = totals;
}

function take(whole) {
	Object.assign(model, {
		n: whole.n, generation: whole.generation, started: whole.started, version: whole.version,
		host: whole.host, states: whole.states, offset: whole.now - Date.now(), last: Date.now(), seats: [],
	});
	model.servers = whole.servers.map(([name, pool, address, line]) => ({ name, pool: whole.pools[pool][0], address,
		where: `${whole.pools[pool][1]}:${line}`, seats: [] }));
	model.services = whole.services.map((given) => {
		const service = { ...given, why: '', text: '' };
		service.seats = given.seats.map((values, i) => {
			const server = model.servers[given.servers[i]];
			const seat = { service, server, why: '', since: 0, sorry: server.pool === given.sorry };
			applySeat(seat, values);
			server.seats.push(seat);
			model.seats[values[0]] = seat;
			return seat;
		});
		applyService(service, given.live);
		service.text = [service.name, service.pool, service.protocol, ...service.listeners,
			...service.seats.map((seat) => `${seat.server.name} ${seat.server.address}`)].join(' ').toLowerCase();
		return service;
	});
	sum();
}

export function load() {
	loading ||= (async () => {
		try {
			const whole = await get('v1/live');
			take(whole);
			model.ready = true;
			const waiting = early;
			early = [];
			loading = null;
			listener({ whole: true });
			waiting.forEach(event);
		} catch (error) {
			loading = null;
			setTimeout(load, 2000);
		}
	})();
	return loading;
}

function event(told) {
	if (loading || !model.ready) {
		early.push(told);
		return;
	}
	if (told.n <= model.n)
		return;
	model.offset = told.now - Date.now();
	model.last = Date.now();
	model.events.unshift(...told.events.slice().reverse());
	model.events.length = Math.min(model.events.length, 1000);
	if (told.anew || told.n !== model.n + 1 || told.generation !== model.generation) {
		load();
		return;
	}
	model.n = told.n;
	const changed = new Set();
	for (const values of told.services) {
		applyService(model.services[values[0]], values);
		changed.add(model.services[values[0]]);
	}
	for (const values of told.seats) {
		const seat = model.seats[values[0]];
		applySeat(seat, values);
		changed.add(seat.service);
	}
	sum();
	listener({ changed, events: told.events.length });
}

export const now = () => Date.now() + model.offset;

// The listener gets { whole } after a load, { changed: Set of services, events } after an event.
export function start(callback) {
	listener = callback;
	load();
	get('v1/events?limit=512').then((list) => {
		const have = new Set(model.events.map((e) => e.time + e.words));
		model.events.push(...list.events.filter((e) => !have.has(e.time + e.words)));
	}).catch(() => {});
	const stream = new EventSource('v1/stream');
	stream.addEventListener('message', (message) => event(JSON.parse(message.data)));
	// A console that was started anew counts from 1 again.
	let opened = 0;
	stream.addEventListener('open', () => {
		if (opened++)
			load();
	});
	// A refusal ends it for good (too many watch already): ask the whole now and then instead.
	stream.addEventListener('error', () => {
		if (stream.readyState === EventSource.CLOSED)
			setInterval(load, 5000);
	});
	addEventListener('pagehide', () => stream.close());
}

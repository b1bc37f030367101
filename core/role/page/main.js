// The frame: header, views, search; the views know how to draw themselves.
import { el, setText, badge, isWrong, number, bytes, age, clock } from './dom.js';
import { model, start, now } from './model.js';
import { Services } from './services.js';
import { Machines } from './machines.js';
import { Connections } from './connections.js';
import { Events, Processes, Config } from './others.js';
import { Certificates } from './certificates.js';
import { session, loadSession, loginForm, logout } from './session.js';

const makers = { services: Services, servers: Machines, connections: Connections, events: Events, certificates: Certificates, processes: Processes, config: Config };
const views = {};
const main = document.getElementById('main');
let view = null, name = '';

const search = el('input', { type: 'search', id: 'search', placeholder: 'Search: name, address, server, state', 'aria-label': 'Search', autocomplete: 'off', spellcheck: 'false' });
const wrong = el('input', { type: 'checkbox', id: 'wrong' });
const sort = el('select', { id: 'sort', 'aria-label': 'Sort by' });
const wrongLabel = el('label', { for: 'wrong' }, wrong, ' Only what is wrong');
const sortLabel = el('label', {}, 'Sort ', sort);
const tools = el('div', { class: 'tools', role: 'search' }, search, wrongLabel, sortLabel);
const place = el('div');
main.append(tools, place);
place.append(el('p', { class: 'note', text: 'Loading …' }));

let typing = 0;
search.addEventListener('input', () => {
	clearTimeout(typing);
	typing = setTimeout(filter, 80);
});
wrong.addEventListener('change', filter);
sort.addEventListener('change', () => {
	view.sort = sort.value;
	view.arrange();
});
addEventListener('keydown', (event) => {
	if (event.key === '/' && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
		event.preventDefault();
		search.focus();
	}
});

function filter() {
	view?.filter(search.value.trim(), wrong.checked);
}

function show() {
	const wanted = location.hash.slice(1);
	if (wanted === 'main')
		return;
	name = makers[wanted] ? wanted : 'services';
	for (const link of document.querySelectorAll('#tabs a'))
		if (link.hash === `#${name}`)
			link.setAttribute('aria-current', 'page');
		else
			link.removeAttribute('aria-current');
	if (!model.ready || document.querySelector('form.login'))
		return;
	view = views[name] ||= new makers[name]();
	document.title = `${view.title} – Steelyard ${model.host}`;
	sortLabel.hidden = !view.sorts;
	sort.replaceChildren(...(view.sorts || []).map((text) => el('option', { text, value: text })));
	sort.value = view.sort;
	wrongLabel.hidden = name === 'processes' || name === 'config';
	tools.hidden = false;
	search.hidden = name === 'processes';
	place.replaceChildren(view.node);
	view.search = search.value.trim();
	view.wrong = wrong.checked;
	view.reset();
}

function total(title, value) {
	return el('div', {}, el('dt', { text: title }), el('dd', { text: value }));
}

const verdict = document.getElementById('verdict'), totals = document.getElementById('totals'), pulse = document.getElementById('pulse');
function header() {
	const bad = model.services.filter((service) => service.state === 'down' || service.state === 'sorry').length;
	const poor = model.services.filter((service) => service.state === 'degraded').length;
	const machines = new Set(model.seats.filter((seat) => isWrong(seat.state)).map((seat) => `${seat.server.name} ${seat.server.address}`)).size;
	const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
	const words = bad ? `${plural(bad, 'service')} down${poor ? `, ${poor} degraded` : ''}` : poor ? `${plural(poor, 'service')} degraded`
		: machines ? `${plural(machines, 'server')} not in use` : 'All is well';
	const state = bad ? 'down' : poor ? 'degraded' : machines ? 'drain' : 'up';
	if (verdict.dataset.words !== words) {
		verdict.dataset.words = words;
		verdict.dataset.state = state;
		const sign = badge(state);
		sign.lastChild.textContent = words;
		verdict.replaceChildren(sign);
	}
	setText(document.getElementById('host'), model.host);
	totals.replaceChildren(total('Connections', number(model.totals.active)), total('New per second', number(model.totals.rate)),
		total('To servers', `${bytes(model.totals.up)}/s`), total('To clients', `${bytes(model.totals.down)}/s`),
		total('Generation', `${model.generation}, up ${age(now() - model.started)}`));
}

const lost = document.getElementById('lost');
setInterval(() => {
	if (session.role === 'none')
		return;
	const silent = model.ready && Date.now() - model.last > 6000;
	if (lost.hidden === silent)
		lost.hidden = !silent;
	if (silent)
		setText(lost, `No news from Steelyard: what is shown is of ${clock(model.last + model.offset)}. Trying again …`);
	pulse.classList.toggle('off', !model.ready || silent);
	setText(pulse, !model.ready ? 'loading' : silent ? '✕ not live' : '● live');
}, 1000);

const who = document.getElementById('who');
function account() {
	who.replaceChildren(...(session.user ? [el('span', { text: session.user }), el('small', { text: session.role === 'operate' ? '' : 'may look' }),
		session.token ? el('button', { type: 'button', id: 'logout', text: 'Log out', onclick: logout }) : null]
		: session.login ? [el('button', { type: 'button', id: 'login', text: 'Log in', onclick: () => askLogin(true) })] : []).filter(Boolean));
}

// Once logged in everything is drawn anew: there are more buttons then.
function askLogin(optional) {
	if (document.querySelector('form.login'))
		return;
	const form = loginForm(() => location.reload(), optional ? () => location.reload() : null);
	place.replaceChildren(form);
	tools.hidden = true;
	view = null;
	form.elements.user.focus();
}

function begin() {
	addEventListener('hashchange', show);
	show();
	start((told) => {
		header();
		if (told.whole) {
			show();
			checkSession();
		} else {
			view?.update(told);
		}
	});
}

// Sessions end: with time, with the console's life, with another line in the users file.
async function checkSession() {
	const was = session.role;
	await loadSession().catch(() => {});
	if (session.role !== was)
		location.reload();
}

addEventListener('steelyard-login', () => askLogin(false));
async function open() {
	try {
		await loadSession();
	} catch {
		setTimeout(open, 2000);
		return;
	}
	account();
	if (session.role !== 'none') {
		begin();
		return;
	}
	for (const id of ['tabs', 'totals', 'pulse', 'verdict'])
		document.getElementById(id).hidden = true;
	if (session.login)
		askLogin(false);
	else
		place.replaceChildren(el('p', { class: 'note', text: 'Nobody can log in here: the console’s block has no users.' }));
}
open();

// Drain, disable, enable, weight: asked for in a dialog that says first what will happen.
import { el, setText, command, quoted, clock, get } from './dom.js';
import { mayOperate, send } from './session.js';

const wishes = [
	['drain', 'Drain', 'no new clients; those that persistence keeps here may come back'],
	['disable', 'Disable', 'nothing new at all'],
	['enable', 'Enable', 'takes clients again, as configured'],
	['weight', 'Weight', 'another share of the new clients'],
];

// What was done, for eyes and screen readers.
export function tell(words) {
	const note = document.getElementById('told');
	setText(note, words);
	clearTimeout(tell.timer);
	tell.timer = setTimeout(() => setText(note, ''), 8000);
}

// server: name. places: [{ words, pool, service }], the first is chosen at first.
export function change(server, places, state, weight) {
	const first = state === 'drain' || state === 'disabled' ? 'enable' : 'drain';
	const radios = wishes.map(([wish, , what], i) => el('label', { class: 'wish' },
		el('input', { type: 'radio', name: 'wish', value: wish, checked: wish === first }), el('b', { text: wishes[i][1] }), el('small', { text: what })));
	const amount = el('input', { type: 'number', id: 'amount', min: 0, max: 65535, value: String(weight), 'aria-label': 'Weight, 0 to 65535' });
	const where = el('select', { id: 'where', 'aria-label': 'Where' }, ...places.map((place, i) => el('option', { value: String(i), text: place.words })));
	const effect = el('p', { class: 'effect', role: 'status' }), detail = el('ul', { class: 'effects' });
	const same = el('ul', { class: 'commands' }), problem = el('p', { class: 'problem', role: 'alert' });
	const go = el('button', { type: 'submit', class: 'primary', text: 'Drain' });
	const form = el('form', { method: 'dialog' }, el('h2', { id: 'change-title', text: `Change ${server}` }),
		el('fieldset', {}, el('legend', { class: 'hidden', text: 'What to do' }), ...radios),
		el('div', { class: 'row' }, amount, where), effect, detail, el('details', {}, el('summary', { text: 'The same in a terminal' }), same), problem,
		el('div', { class: 'buttons' }, el('button', { type: 'button', text: 'Cancel', onclick: () => dialog.close() }), go));
	const dialog = el('dialog', { class: 'change', 'aria-labelledby': 'change-title' }, form);
	let asked = 0;

	function wish() {
		return form.elements.wish.value;
	}

	async function show() {
		const place = places[where.value], number = ++asked, weighs = wish() === 'weight';
		const query = new URLSearchParams({ server, pool: place.pool, ...(place.service ? { service: place.service } : {}),
			...(weighs ? { weight: amount.value } : { wish: wish() }) });
		amount.hidden = !weighs;
		setText(go, wishes.find(([name]) => name === wish())[1] + (weighs ? ` ${amount.value}` : ''));
		same.replaceChildren(command(`steelyardctl ${wish()} ${quoted(server)}${weighs ? ` ${amount.value}` : ''}`
			+ (place.service ? ` --service ${quoted(place.service)}` : ` --pool ${quoted(place.pool)}`), ''));
		try {
			const told = await get(`v1/effect?${query}`);
			if (number !== asked)
				return;
			setText(effect, told.words + (told.persistence_until && wish() !== 'enable' ? ` The last of these is forgotten at ${clock(told.persistence_until)} unless they come again.` : ''));
			detail.replaceChildren(...told.services.slice(0, 12).map((one) => el('li', { class: one.state_then === 'down' || one.state_then === 'sorry' ? 'bad' : '' },
				el('b', { text: one.service }), ` ${one.active} connections; ${one.accepting_now} of ${one.servers} servers take new clients now, then ${one.accepting_then}`)));
			go.disabled = false;
			setText(problem, '');
		} catch (error) {
			if (number !== asked)
				return;
			setText(effect, '');
			setText(problem, error.message);
			go.disabled = true;
		}
	}

	form.addEventListener('input', show);
	form.addEventListener('submit', async (event) => {
		const place = places[where.value];
		event.preventDefault();
		go.disabled = true;
		try {
			const told = await send('POST', `v1/servers/${encodeURIComponent(server)}`, { pool: place.pool,
				...(place.service ? { service: place.service } : {}),
				...(wish() === 'weight' ? { weight: Number(amount.value) } : { wish: wish() }) });
			dialog.close();
			tell(`${server}: ${go.textContent.toLowerCase()}, ${told.message}`);
		} catch (error) {
			setText(problem, error.message);
			go.disabled = false;
		}
	});
	dialog.addEventListener('close', () => dialog.remove());
	document.body.append(dialog);
	dialog.showModal();
	show();
}

export function seatPlaces(seat) {
	const { server, service } = seat;
	return [{ words: `in ${service.name} only`, pool: server.pool, service: service.name },
		{ words: `in all services of pool ${server.pool} (${server.seats.length})`, pool: server.pool }];
}

// A button for those who may; null for those who may not.
export function changeButton(server, places, what) {
	return mayOperate() ? el('button', { type: 'button', class: 'change', 'aria-label': `Change ${server}`, text: 'Change',
		onclick: () => change(server, places(), ...what()) }) : null;
}

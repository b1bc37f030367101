// Events, processes and generations, the configuration.
import { el, setText, table, row, number, age, clock, get, command } from './dom.js';
import { model, now } from './model.js';
import { mayOperate, send } from './session.js';
import { tell } from './change.js';

export class Events {
	constructor() {
		this.title = 'Events';
		this.sorts = ['newest first', 'oldest first'];
		this.sort = this.sorts[0];
		this.search = '';
		this.count = el('p', { class: 'note', role: 'status' });
		this.list = el('ol', { class: 'events' });
		this.node = el('div', {}, this.count, this.list);
	}

	reset() {
		this.arrange();
	}

	filter(search, wrong) {
		this.search = search;
		this.wrong = wrong;
		this.arrange();
	}

	arrange() {
		const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
		const list = model.events.filter((event) => words.every((word) => event.words.toLowerCase().includes(word))
			&& (!this.wrong || /: (down|draining|drain|disabled)\b/.test(event.words)));
		if (this.sort === 'oldest first')
			list.reverse();
		setText(this.count, `${list.length} of ${model.events.length} events since the console was started; the log has all`);
		this.list.replaceChildren(...list.slice(0, 300).map((event) => el('li', {},
			el('time', { datetime: new Date(event.time).toISOString(), text: clock(event.time) }), el('span', { text: event.words }))));
	}

	update(told) {
		if (told.events)
			this.arrange();
	}
}

export class Processes {
	constructor() {
		this.title = 'Processes';
		this.live = el('div');
		this.node = el('div', {}, this.live);
	}

	reset() {
		return this.refresh();
	}

	filter() {}

	async refresh() {
		const columns = [['Process', 'name'], ['State', 'state'], ['Pid', 'n'], ['Running', 'n'], ['Started', 'n'], ['Beat', 'n'],
			['Generation', 'n'], ['Held', 'n'], ['Connections', 'n'], ['Memory', 'n']];
		let processes, generations;
		try {
			[{ processes }, generations] = await Promise.all([get('v1/processes'), get('v1/generations')]);
		} catch (error) {
			this.live.replaceChildren(el('p', { class: 'note', text: error.message }));
			return;
		}
		const late = (process) => process.beat_age_ms > 5000;
		const state = (process) => el('span', { class: `badge ${late(process) ? 'bad' : 'good'}`,
			text: late(process) ? '✕ silent' : process.ready ? '✓ ready' : '… starting' });
		this.live.replaceChildren(table('processes stack', columns, processes.map((process) => row(columns, [
			process.role + (process.index === undefined ? '' : ` ${process.index}`), state(process), process.pid, age(now() - process.started),
			process.spawns > 1 ? `${process.spawns} times` : 'once', `${(process.beat_age_ms / 1000).toFixed(1)} s ago`, process.generation, process.generations,
			number(process.connections), process.rss_kib === undefined ? '–' : `${number(process.rss_kib / 1024)} MiB`]))),
		el('dl', { class: 'facts' }, ...[['Generation in use', generations.current], ['Services', generations.services], ['Pools', generations.pools],
			['Its memory in the console', `${number(generations.arena_bytes / 1024)} KiB`], ['Version', model.version], ['Running for', age(now() - model.started)]]
			.map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: String(value) })))),
		el('p', { class: 'note', text: 'A process that holds more than one generation still has connections of an older configuration.' }));
	}

	update() {
		this.beats = (this.beats || 0) + 1;
		if (this.beats % 3 === 0)
			this.refresh();
	}
}

export class Config {
	constructor() {
		this.title = 'Configuration';
		this.search = '';
		this.note = el('p', { class: 'note', role: 'status' });
		this.text = el('ol', { class: 'config' });
		this.trial = el('p', { class: 'effect', role: 'status' });
		this.problem = el('pre', { class: 'problem', role: 'alert' });
		this.acts = mayOperate() ? el('div', { class: 'row' }, this.button('Reload', 'v1/reload', {}),
			this.button('Reload on trial for 5 minutes', 'v1/reload', { confirm: '5m' }), this.button('Confirm', 'v1/confirm', {}))
			: el('ul', { class: 'commands' }, command('steelyardctl reload', 'Read the files anew'), command('steelyardctl show config', 'The same in a terminal'));
		this.node = el('div', {}, this.trial, this.acts, this.problem, this.note, this.text);
	}

	// A reload that is refused changes nothing, and says why line by line.
	button(text, path, body) {
		const button = el('button', { type: 'button', text });
		button.addEventListener('click', async () => {
			button.disabled = true;
			try {
				tell((await send('POST', path, body)).message.split('\n')[0]);
				setText(this.problem, '');
			} catch (error) {
				setText(this.problem, error.message);
			}
			button.disabled = false;
			this.reset();
		});
		return button;
	}

	async onTrial() {
		const until = (await get('v1/status')).trial_until;
		setText(this.trial, until ? `This configuration is on trial until ${clock(until)}: unless it is confirmed, the one before comes back.` : '');
		if (mayOperate())
			this.acts.lastChild.hidden = !until;
	}

	async reset() {
		try {
			this.lines = (await get('v1/config')).replace(/\n$/, '').split('\n');
			await this.onTrial();
		} catch (error) {
			this.lines = [];
			setText(this.note, error.message);
			return;
		}
		this.filter(this.search);
	}

	filter(search) {
		const words = search.toLowerCase().split(/\s+/).filter(Boolean);
		this.search = search;
		if (!this.lines)
			return;
		const list = this.lines.map((line, i) => [line, i]).filter(([line]) => words.every((word) => line.toLowerCase().includes(word)));
		setText(this.note, words.length ? `${list.length} of ${this.lines.length} lines` : `As it is in use (generation ${model.generation}), every line with the file and line that it comes from.`);
		this.text.replaceChildren(...list.slice(0, 5000).map(([line, i]) => {
			const [, code, where] = /^(.*?)(?:\s+# ([^#]+:\d+))?$/.exec(line);
			return el('li', { value: String(i + 1) }, el('code', { text: code }), where ? el('small', { text: where }) : null);
		}));
	}

	update() {
		this.beats = (this.beats || 0) + 1;
		if (this.beats % 5 === 0)
			this.onTrial().catch(() => {});
	}
}

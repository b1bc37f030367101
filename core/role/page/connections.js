// Live connections, asked of the workers, and how those before them ended.
import { el, setText, symbol, table, row, number, bytes, age, clock, get } from './dom.js';

const columns = [['Client', 'name'], ['Address', 'addresses'], ['Service', ''], ['Server', ''], ['Chosen', ''], ['Step', ''],
	['Age', 'n'], ['Silent', 'n'], ['To server', 'n'], ['To client', 'n']];
const sorts = {
	youngest: (a, b) => a.age_ms - b.age_ms,
	oldest: (a, b) => b.age_ms - a.age_ms,
	'silent longest': (a, b) => b.idle_ms - a.idle_ms,
	'most bytes': (a, b) => b.bytes_up + b.bytes_down - a.bytes_up - a.bytes_down,
	client: (a, b) => (a.client || '').localeCompare(b.client || '', 'en', { numeric: true }),
};
const LIMIT = 1000;
const endedColumns = [['Ended', ''], ['Client', 'name'], ['Service', ''], ['Server', ''], ['Why', ''], ['Asked', ''], ['Lasted', 'n'],
	['To server', 'n'], ['To client', 'n']];
const ENDED = 500;

export class Connections {
	constructor() {
		this.title = 'Connections';
		this.sorts = Object.keys(sorts);
		this.sort = this.sorts[0];
		this.search = '';
		this.list = [];
		this.count = el('p', { class: 'note', role: 'status' });
		this.live = el('div', { class: 'wide', role: 'region', tabindex: '0', 'aria-label': 'Connections that are open' });
		this.past = [];
		this.pastCount = el('p', { class: 'note', role: 'status' });
		this.pastTable = el('div', { class: 'wide', role: 'region', tabindex: '0', 'aria-label': 'Connections that ended lately' });
		this.endings = el('section', { class: 'endings' });
		this.node = el('div', {}, this.endings, el('section', {}, el('h2', { text: 'Open now' }), this.count, this.live),
			el('section', { class: 'ended' }, el('h2', { text: 'Ended lately' }), this.pastCount, this.pastTable));
	}

	reset() {
		return this.refresh();
	}

	filter(search, wrong) {
		this.search = search;
		this.wrong = wrong;
		this.draw();
	}

	arrange() {
		this.draw();
	}

	async refresh() {
		try {
			const [live, ended, past] = await Promise.all([get(`v1/connections?limit=${LIMIT}`), get('v1/reasons'),
				get(`v1/connections/ended?limit=${ENDED}`)]);
			this.list = live.connections;
			this.ended = ended.reasons;
			this.past = past.connections;
			this.draw();
		} catch (error) {
			setText(this.count, error.message);
		}
	}

	draw() {
		const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
		const list = this.list.filter((conn) => {
			const text = [conn.client, conn.peer, conn.vip, conn.service, conn.server, conn.server_address, conn.step, conn.why].join(' ').toLowerCase();
			return words.every((word) => text.includes(word)) && (!this.wrong || !conn.server);
		});
		list.sort(sorts[this.sort]);
		setText(this.count, `${number(list.length)} of ${number(this.list.length)} connections${this.list.length >= LIMIT ? `; the list ends at ${LIMIT}: steelyardctl connections finds others` : ''}`);
		this.live.replaceChildren(table('connections stack', columns, list.slice(0, 300).map((conn) => row(columns,
			[conn.client, conn.vip, conn.service, conn.server ? `${conn.server} ${conn.server_address || ''}` : 'none yet', conn.why || '', conn.step,
				age(conn.age_ms), age(conn.idle_ms), bytes(conn.bytes_up), bytes(conn.bytes_down)]))));
		if (list.length > 300)
			this.live.append(el('p', { class: 'note', text: 'The first 300 are shown; search to see others.' }));
		this.drawPast(words);
		this.drawEndings();
	}

	// What ended, with its reason: from the flight recorder, so those of workers that have died, too.
	drawPast(words) {
		const errors = new Set((this.ended || []).filter((reason) => reason.error).map((reason) => reason.reason));
		const isError = (conn) => errors.has(conn.end) || conn.status >= 500;
		const list = this.past.filter((conn) => {
			const text = [conn.client, conn.vip, conn.service, conn.server, conn.address, conn.why, conn.end, conn.words, conn.error,
				conn.asked, conn.status].join(' ').toLowerCase();
			return words.every((word) => text.includes(word)) && (!this.wrong || isError(conn));
		});
		setText(this.pastCount, `${number(list.length)} of the last ${number(this.past.length)}`);
		this.pastTable.replaceChildren(table('past stack', endedColumns, list.slice(0, 200).map((conn) => row(endedColumns,
			[clock(conn.time), conn.client, conn.service, conn.server ? `${conn.server} ${conn.address || ''}` : 'none',
				el('span', {}, isError(conn) ? symbol('down') : null, ` ${conn.words}${conn.error ? ` (${conn.error})` : ''}`),
				`${conn.asked || ''} ${conn.status || ''}`.trim(), age(conn.ms), bytes(conn.bytes_up), bytes(conn.bytes_down)]))));
		if (list.length > 200)
			this.pastTable.append(el('p', { class: 'note', text: 'The newest 200 are shown; search to see others.' }));
	}

	drawEndings() {
		const ended = (this.ended || []).filter((reason) => !this.wrong || reason.error).sort((a, b) => b.error - a.error || b.total - a.total);
		this.endings.replaceChildren(el('h2', { text: 'How connections ended' }), ended.length
			? el('ul', {}, ...ended.map((reason) => el('li', {},
				reason.error ? el('span', { class: 'badge bad' }, symbol('down'), reason.reason) : el('b', { text: reason.reason }),
				el('span', { class: 'n', text: number(reason.total) }), el('small', { text: reason.words }))))
			: el('p', { class: 'note', text: this.wrong ? 'None ended by our or a server’s fault.' : 'None has ended yet.' }));
	}

	update() {
		this.beats = (this.beats || 0) + 1;
		if (this.beats % 3 === 0)
			this.refresh();
	}
}

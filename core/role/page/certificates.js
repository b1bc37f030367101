// Certificates, the one that ends first on top.
import { el, setText, table, row, get } from './dom.js';

const columns = [['Days left', 'state'], ['Names', 'name'], ['Used by', ''], ['Issuer', ''], ['Key', ''], ['Until', ''], ['File', 'addresses']];
const SOON = 30, LATE = 7;

function left(days) {
	const kind = days < LATE ? 'bad' : days < SOON ? 'warn' : 'good';
	const words = days < 0 ? `✕ over for ${-days} d` : `${kind === 'good' ? '✓' : '!'} ${days} d`;
	return el('span', { class: `badge ${kind}`, text: words });
}

export class Certificates {
	constructor() {
		this.title = 'Certificates';
		this.search = '';
		this.list = [];
		this.count = el('p', { class: 'note', role: 'status' });
		this.live = el('div', { class: 'wide', role: 'region', tabindex: '0', 'aria-label': 'Certificates' });
		this.node = el('div', {}, this.count, this.live);
	}

	async reset() {
		try {
			this.list = (await get('v1/certificates')).certificates;
			this.draw();
		} catch (error) {
			setText(this.count, error.message);
		}
	}

	filter(search, wrong) {
		this.search = search;
		this.wrong = wrong;
		this.draw();
	}

	draw() {
		const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
		const list = this.list.filter((one) => words.every((word) => [one.name, one.names, one.subject, one.issuer, one.used_by, one.file].join(' ').toLowerCase().includes(word))
			&& (!this.wrong || (one.days_left ?? 0) < SOON));
		list.sort((a, b) => (a.days_left ?? -1e6) - (b.days_left ?? -1e6));
		setText(this.count, !this.list.length ? 'No tls block has a certificate.' : `${list.length} of ${this.list.length} certificates; what ends within ${SOON} days is marked`);
		this.live.replaceChildren(...(list.length ? [table('stack certificates', columns, list.map((one) => row(columns,
			[one.days_left === undefined ? 'unreadable' : left(one.days_left), one.names || one.subject || one.name, one.used_by, one.issuer || '', one.key || '',
				one.not_after || '', `${one.file} (${one.where}:${one.line})`])))] : []));
	}

	update() {}
}

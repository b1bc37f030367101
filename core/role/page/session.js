// Who looks, and what they may: logging in and out, and requests that change things.
import { el, setText, get } from './dom.js';

export const session = { user: null, role: 'none', way: '', token: '', login: false };
export const mayOperate = () => session.role === 'operate';

export async function loadSession() {
	Object.assign(session, await get('v1/session'));
}

// Asks for a change; the answer, or an error in the console's words.
export async function send(method, path, body) {
	const answer = await fetch(path, {
		method, cache: 'no-store', body: JSON.stringify(body || {}),
		headers: { 'Content-Type': 'application/json', 'X-Steelyard-Token': session.token || 'page' },
	});
	const told = await answer.json();
	if (!answer.ok)
		throw new Error(told.error || `${path}: ${answer.status}`);
	return told;
}

// The form, until it was right; then `done` is called.
export function loginForm(done, cancel) {
	const user = el('input', { id: 'user', name: 'user', autocomplete: 'username', required: true, spellcheck: 'false', autocapitalize: 'none' });
	const password = el('input', { id: 'password', name: 'password', type: 'password', autocomplete: 'current-password', required: true });
	const problem = el('p', { class: 'problem', role: 'alert' });
	const button = el('button', { type: 'submit', class: 'primary', text: 'Log in' });
	const form = el('form', { class: 'login' }, el('h2', { text: 'Log in' }),
		el('label', { for: 'user', text: 'Name' }), user, el('label', { for: 'password', text: 'Password' }), password, problem,
		el('div', { class: 'buttons' }, cancel ? el('button', { type: 'button', text: 'Cancel', onclick: cancel }) : null, button));
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		button.disabled = true;
		try {
			Object.assign(session, await send('POST', 'v1/login', { user: user.value, password: password.value }));
			done();
		} catch (error) {
			setText(problem, error.message);
			password.value = '';
			password.focus();
		}
		button.disabled = false;
	});
	return form;
}

export async function logout() {
	await send('POST', 'v1/logout');
	location.reload();
}

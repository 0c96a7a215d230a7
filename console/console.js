// What the console does beyond its pages: they work without it. Rules about paths are the server's, asked for as they are needed.

const prefix = document.body.dataset.prefix;
const api = prefix + '/api/v1';
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

document.documentElement.classList.add('scripted');

// ---- words

const labels = {
	received: 'Received', preparing: 'Preparing', flushing_servers: 'Flushing servers', flushing_cdn: 'Flushing CDN servers',
	done: 'Done', error_cdn_node: 'ERROR_CDN_NODE', error: 'ERROR', expired: 'Expired',
};
const tones = {received: 'wait', done: 'ok', error_cdn_node: 'bad', error: 'bad', expired: 'off'};
// rank says which of two summaries of a job is the later one: states come in order, and attempts one after the other.
const rank = s => 8 * s.attempt + (final(s.state) ? 7 : Object.keys(labels).indexOf(s.state));
const final = state => ['done', 'error_cdn_node', 'error', 'expired'].includes(state);
const count = new Intl.NumberFormat('en');
const local = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'medium'});

function bytes(n) {
	const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
	let i = 0;
	while (n >= 999.5 && i < units.length - 1) {
		n /= 1000;
		i++;
	}
	return (i > 0 && n < 9.95 ? n.toFixed(1) : Math.round(n)) + ' ' + units[i];
}

function localize(from) {
	for (const time of $$('time', from)) {
		const at = new Date(time.dateTime);
		if (!isNaN(at)) {
			time.title = time.dateTime;
			time.textContent = local.format(at);
		}
	}
}

function element(name, properties, ...children) {
	const e = Object.assign(document.createElement(name), properties);
	e.append(...children);
	return e;
}

// ---- requests

class Refusal extends Error {
	constructor(status, body) {
		super(body?.error?.message ?? `the server answered ${status}`);
		this.status = status;
	}
}

async function ask(method, path, body, signal) {
	const r = await fetch(api + path, {
		method, signal, headers: body ? {'Content-Type': 'application/json'} : {}, body: body && JSON.stringify(body),
	});
	const answer = await r.json().catch(() => null);
	if (r.status === 401) location.reload(); // to sign in
	if (!r.ok) throw new Refusal(r.status, answer);
	return answer;
}

async function pageAt(url) {
	const r = await fetch(url);
	if (r.redirected) location.reload(); // to sign in
	if (!r.ok || r.redirected) throw new Refusal(r.status);
	return new DOMParser().parseFromString(await r.text(), 'text/html');
}

function tell(text, bad, link) {
	const notice = $('#notice');
	if (!notice) return;
	notice.classList.toggle('bad', !!bad);
	notice.replaceChildren(text);
	if (link) notice.append(' ', link);
}

// ---- events: one stream, open while somebody looks

// follow calls onEvent with what comes, and refresh when the stream has opened: what happened since the page was made comes by no event.
function follow(onEvent, refresh) {
	const live = $('#live'), word = $('#live-word');
	let stream, again = 0;
	const caughtUp = () => refresh().catch(() => { /* the stream opens again, or the next event tells */ });
	const show = here => {
		if (!live) return;
		live.hidden = false;
		live.classList.toggle('away', !here);
		word.textContent = here ? 'live' : 'not connected';
	};
	const close = () => {
		clearTimeout(again);
		stream?.close();
	};
	const open = () => {
		close();
		const opened = stream = new EventSource(api + '/purges/events?view=summary');
		opened.addEventListener('open', () => {
			show(true);
			caughtUp();
		});
		opened.addEventListener('error', () => {
			show(false);
			// After an answer that is no stream, such as that of a server which is starting, browsers do not try again.
			if (opened.readyState !== EventSource.CLOSED || opened !== stream) return;
			caughtUp(); // or leads to where one signs in
			again = setTimeout(open, 3000);
		});
		opened.addEventListener('state', e => onEvent(JSON.parse(e.data).summary));
	};
	document.addEventListener('visibilitychange', () => {
		if (document.hidden) close();
		else open();
	});
	addEventListener('pagehide', close);
	if (!document.hidden) open();
}

// ---- the log

const maxRows = 50;

function result(s) {
	const parts = [], removed = s.originals + s.derivatives + s.composites;
	if (s.paths > 1 && s.ended < s.paths) parts.push(`${count.format(s.ended)} of ${count.format(s.paths)}`);
	if (s.failed > 0 && s.paths > 1) parts.push(`${count.format(s.failed)} failed`);
	if (removed > 0) parts.push(`${count.format(removed)} removed, ${bytes(s.bytes)}`);
	else if (s.state === 'done') parts.push(s.mode === 'delete' ? 'nothing was stored' : 'nothing removed');
	return parts.join(' · ');
}

function sign(state) {
	const tone = tones[state] ?? 'busy';
	const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), use = document.createElementNS(svg.namespaceURI, 'use');
	for (const [name, value] of Object.entries({class: 'sign', width: 14, height: 14, 'aria-hidden': true, focusable: false})) svg.setAttribute(name, value);
	use.setAttribute('href', '#sign-' + tone);
	svg.append(use);
	return element('span', {className: 'state ' + tone}, svg, element('span', {className: 'word'}, labels[state] ?? state));
}

// fill writes a summary into a row.
function fill(row, s) {
	const field = name => $(`[data-field=${name}]`, row);
	if (row.dataset.id === s.id && rank(s) < rank({attempt: Number(row.dataset.attempt), state: row.dataset.state})) return; // the row is newer
	row.dataset.id = s.id;
	row.dataset.attempt = s.attempt;
	row.dataset.state = s.state;
	const state = field('state');
	if ($('.word', state)?.textContent !== labels[s.state]) state.replaceChildren(sign(s.state));
	field('scope').replaceChildren(s.scope, ...s.source ? [' ', element('span', {className: 'muted'}, 'of ' + s.source)] : []);
	field('mode').textContent = s.mode === 'delete' ? '' : s.mode;
	field('first').textContent = s.first;
	field('paths').textContent = count.format(s.paths);
	$('.links', row).hidden = s.paths < 2;
	field('result').textContent = result(s);
	field('reason').textContent = s.reason;
	if (!$('time', row)) field('date').append(element('time', {dateTime: s.date, title: s.date}, local.format(new Date(s.date))));
	field('id').textContent = s.id;
	field('id').href = `${prefix}/console/purges/${s.id}`;
	const act = (name, can) => {
		const form = $('.' + name, row);
		form.action = `${prefix}/console/purges/${s.id}/${name}`;
		form.hidden = !can;
	};
	act('retry', final(s.state) && s.state !== 'done');
	act('cancel', s.state === 'received');
}

function startLog() {
	const log = $('#log'), rows = $('#rows');
	const rowOf = id => $$('tr', rows).find(row => row.dataset.id === id);

	function update(s) {
		let row = rowOf(s.id);
		if (!row) {
			const top = rows.firstElementChild?.dataset.id ?? '';
			if (log.dataset.cursor || s.id < top) return; // of another page
			row = $('#blank').content.firstElementChild.cloneNode(true);
			row.classList.add('new');
			$('time', row)?.remove();
			$('.links ul', row).replaceChildren();
			rows.prepend(row);
			while (rows.children.length > maxRows) rows.lastElementChild.remove();
			$('#none').hidden = true;
		}
		fill(row, s);
	}

	const refreshing = new Set(); // what has come since each was begun, by ID: the page may be older
	function hear(s) {
		for (const since of refreshing) since.set(s.id, s);
		update(s);
	}

	async function refresh() {
		const since = new Map();
		refreshing.add(since);
		const page = await pageAt(location.pathname + location.search).finally(() => refreshing.delete(since));
		const open = new Set($$('details[open]', rows).map(d => d.closest('tr').dataset.id));
		rows.replaceChildren(...$$('#rows > tr', page));
		$('#pages').replaceWith($('#pages', page));
		$('#none').hidden = rows.children.length > 0;
		localize(rows);
		for (const row of rows.children) if (open.has(row.dataset.id)) $('details', row).open = true;
		[...since.keys()].sort().forEach(id => update(since.get(id)));
	}

	$('#refresh').addEventListener('click', async e => {
		e.preventDefault();
		try {
			await refresh();
			tell('');
		} catch (err) {
			tell(err.message, true);
		}
	});

	// What the page has of a list is its beginning, or nothing where the row was made here.
	log.addEventListener('toggle', async e => {
		const row = e.target.closest?.('tr');
		if (!row || !e.target.open || $('li', e.target)) return;
		const rec = await ask('GET', '/purges/' + row.dataset.id);
		const links = rec.paths.slice(0, 10).map(p => element('li', {}, element('code', {}, p.path)));
		if (rec.paths.length > 10) {
			links.push(element('li', {}, element('a', {href: `${prefix}/console/purges/${rec.id}`}, `and ${count.format(rec.paths.length - 10)} more`)));
		}
		$('ul', e.target).replaceChildren(...links);
	}, true);

	follow(hear, refresh);
	// Paths of a job that is at work come to their end between two states.
	setInterval(async () => {
		if (document.hidden) return;
		for (const row of $$('tr', rows).filter(row => !final(row.dataset.state)).slice(0, 10)) {
			const s = await ask('GET', `/purges/${row.dataset.id}?view=summary`).catch(() => null);
			if (s && row.isConnected) hear(s);
		}
	}, 2000);
	return {update: hear, refresh};
}

// Retry and Cancel, wherever they are.
function startActions(done) {
	document.addEventListener('submit', async e => {
		const form = e.target.closest('form.act');
		if (!form) return;
		e.preventDefault();
		const button = $('button', form), what = form.classList.contains('retry') ? 'retry' : 'cancel';
		const id = form.action.split('/').at(-2);
		button.disabled = true;
		try {
			await ask('POST', `/purges/${id}/${what}`);
			tell(what === 'retry' ? 'Trying again what failed.' : 'Cancelled. The purge itself stands.');
			await done(id);
		} catch (err) {
			tell(err.message, true);
		}
		button.disabled = false;
	});
}

// ---- the form

function startForm(log) {
	const form = $('#purge'), text = $('#text'), list = $('#review'), items = $('ul', list), send = $('#send'), alert = $('#form-alert'), says = $('#form-count');
	const sure = $('#sure');
	const scope = () => form.elements.scope.value;
	const unchecked = new Set(); // paths that were
	let latest = null, checking = null, timer = 0;

	const chosen = () => $$('input:checked', items).map(box => box.value);

	function settle() {
		const n = chosen().length, most = latest?.most ?? Number(form.dataset.most);
		const everything = scope() === 'all';
		document.documentElement.classList.toggle('all', everything);
		send.textContent = everything ? 'Purge all…' : n > 1 ? `Invalidate ${count.format(n)}` : 'Invalidate';
		send.disabled = !everything && (n === 0 || n > most || !!checking);
		const wrong = latest?.wrong ?? 0;
		says.textContent = everything ? '' : [
			n > 0 && `${count.format(n)} of at most ${count.format(most)}`, wrong > 0 && `${count.format(wrong)} in a wrong format`,
		].filter(Boolean).join(', ');
		says.classList.toggle('why', n > most);
		if (!everything && n > most) alert.textContent = `${count.format(n)} are checked; one purge may have ${count.format(most)}. Uncheck some.`;
		else if (alert.dataset.kind !== 'server') alert.textContent = '';
	}

	function show(report) {
		latest = report;
		unchecked.forEach(p => report.paths.some(c => c.path === p) || unchecked.delete(p));
		items.replaceChildren(...report.paths.filter(c => !c.again).map(c => {
			if (c.error) {
				const li = element('li', {className: 'wrong'}, element('code', {}, c.given), ' ', c.error.message);
				if (c.error.want) {
					li.append('; the right form is ', element('code', {}, c.error.want));
					if (c.error.want !== '/source/image.jpg' && c.error.want !== '/source/folder/') {
						const use = element('button', {type: 'button'}, 'Use this', element('span', {className: 'hide'}, ` in place of ${c.given}`));
						use.addEventListener('click', () => {
							text.value = text.value.split(/([,\r\n]+)/).map(part => part.trim() === c.given ? c.error.want : part).join('');
							check();
							text.focus();
						});
						li.append(use);
					}
				}
				return li;
			}
			const box = element('input', {type: 'checkbox', value: scope() === 'tag' ? c.path : c.path.split('/').map(encodeURIComponent).join('/'), checked: !unchecked.has(c.path)});
			box.addEventListener('change', () => {
				if (box.checked) unchecked.delete(c.path);
				else unchecked.add(c.path);
				settle();
			});
			const li = element('li', {}, element('label', {}, box, ' ', element('code', {}, c.path)));
			if (c.cached === false) li.append(element('span', {className: 'hint'}, 'not known to this cache'));
			return li;
		}));
		list.hidden = report.paths.length === 0;
		settle();
	}

	async function check() {
		clearTimeout(timer);
		checking?.abort();
		delete alert.dataset.kind;
		if (scope() === 'all' || text.value.trim() === '') {
			checking = null;
			show({paths: [], wrong: 0, most: Number(form.dataset.most)});
			return;
		}
		const mine = checking = new AbortController();
		settle();
		try {
			const report = await ask('POST', '/purges/check', {scope: scope(), text: text.value}, mine.signal);
			if (checking === mine) {
				checking = null;
				show(report);
			}
		} catch (err) {
			if (checking !== mine) return;
			checking = null;
			alert.dataset.kind = 'server';
			alert.textContent = err.message;
			settle();
		}
	}

	function name() {
		const words = {original: 'Paths', prefix: 'Folders', tag: 'Tags'}[scope()];
		if (words) $('[data-text=text]').textContent = words;
		$('#form-help').hidden = scope() !== 'original';
		text.placeholder = {original: '/photos/cat.jpg', prefix: '/photos/2026/', tag: 'product-17'}[scope()] ?? '';
	}

	async function submit() {
		const req = {scope: scope(), mode: form.elements.mode.value};
		if (req.scope === 'all') {
			if (!await confirmed()) return;
			if (form.elements.source.value) req.source = form.elements.source.value;
		} else {
			req[req.scope === 'tag' ? 'tags' : 'paths'] = chosen();
		}
		send.disabled = true;
		delete alert.dataset.kind;
		alert.textContent = '';
		try {
			const job = await ask('POST', '/purges', req);
			text.value = '';
			unchecked.clear();
			form.elements.scope.value = 'original';
			name();
			await check();
			tell('Received:', false, element('a', {href: `${prefix}/console/purges/${job.id}`}, job.id));
			if (!$$('#rows > tr').some(row => row.dataset.id === job.id)) {
				log.update(await ask('GET', `/purges/${job.id}?view=summary`));
			}
			$('#log').scrollIntoView({block: 'nearest'});
		} catch (err) {
			alert.dataset.kind = 'server';
			alert.textContent = err.message;
		}
		settle();
	}

	// confirmed asks before everything is purged. What is not an answer is a no.
	function confirmed() {
		const source = form.elements.source.value;
		$('[data-text=what]', sure).textContent = source ? `all of the source ${source}` : 'the whole cache';
		$('.danger', sure).textContent = source ? `Purge all of ${source}` : 'Purge everything';
		$('#sure-title').textContent = source ? `Purge all of ${source}?` : 'Purge everything?';
		for (const p of $$('[data-mode]', sure)) p.hidden = p.dataset.mode !== form.elements.mode.value;
		sure.returnValue = 'no';
		sure.showModal();
		return new Promise(resolve => sure.addEventListener('close', () => resolve(sure.returnValue === 'yes'), {once: true}));
	}

	text.addEventListener('input', () => {
		clearTimeout(timer);
		timer = setTimeout(check, 200);
	});
	form.addEventListener('change', e => {
		if (e.target.name === 'scope') {
			name();
			check();
		}
	});
	form.addEventListener('submit', async e => {
		e.preventDefault();
		if (checking || timer && scope() !== 'all') await check();
		if (!send.disabled) await submit();
	});
	name();
	check();
}

// ---- plots

const every = 2000, most = 150; // milliseconds, points: five minutes

// quantile of the durations between two histograms, in seconds: within a bucket they are taken to be spread evenly.
function quantile(q, before, after) {
	const n = after.count - before.count;
	if (n <= 0) return null;
	let low = 0, below = 0;
	for (let i = 0; i < after.buckets.length; i++) {
		const upTo = after.buckets[i].count - before.buckets[i].count;
		if (upTo >= q * n) return low + (after.buckets[i].le - low) * (upTo > below ? (q * n - below) / (upTo - below) : 1);
		low = after.buckets[i].le;
		below = upTo;
	}
	return low;
}

function duration(s) {
	if (s === null) return '–';
	if (s >= 1) return s.toPrecision(2) + ' s';
	if (s >= .001) return Number((s * 1000).toPrecision(2)) + ' ms';
	return Math.round(s * 1e6) + ' µs';
}

function startVitals() {
	const vitals = $('#vitals');
	if (!vitals) return;
	const key = 'imagecdn-vitals';
	let points = [], last = null;
	try {
		const kept = JSON.parse(sessionStorage.getItem(key));
		if (kept && Date.now() - kept.at < 4 * every) ({points, last} = kept);
	} catch { /* there is nothing to go on from */ }

	function plot(name, values, top) {
		const svg = $(`[data-vital=${name}]`, vitals).parentElement.querySelector('svg');
		const known = values.filter(v => v !== null);
		const high = top ?? Math.max(...known, 1e-9) * 1.1;
		const span = Math.min(most, Math.max(values.length, 15)); // points across the plot
		let line = '', area = '', begun = null, before = null;
		values.forEach((v, i) => {
			if (v === null) v = before; // nothing happened: as it was
			if (v === null) return;
			before = v;
			const x = (150 - (values.length - 1 - i) * 150 / (span - 1)).toFixed(1), y = (34 - Math.min(v / high, 1) * 32).toFixed(1);
			begun ??= x;
			line += (line ? 'L' : 'M') + x + ' ' + y;
			area = `M${begun} 36L` + line.slice(1) + `L${x} 36Z`;
		});
		$('.line', svg).setAttribute('d', line);
		$('.area', svg).setAttribute('d', area);
	}

	const say = (name, value, detail) => {
		$(`[data-vital=${name}]`, vitals).textContent = value;
		$(`[data-detail=${name}]`, vitals).textContent = detail;
	};

	async function sample() {
		if (document.hidden) return;
		const s = await ask('GET', '/stats').catch(() => null);
		if (!s) return;
		if (last && last.since === s.since && s.time > last.time) {
			const seconds = (new Date(s.time) - new Date(last.time)) / 1000;
			const grown = name => s.requests[name].count - last.requests[name].count;
			const hits = grown('hit') + grown('not_modified'), all = hits + grown('revalidated') + grown('miss');
			const sent = Object.keys(s.requests).reduce((n, name) => n + s.requests[name].bytes - last.requests[name].bytes, 0);
			points.push({
				hits, all, rate: all / seconds, bytes: sent / seconds, fetched: (s.origins.bytes - last.origins.bytes) / seconds,
				queue: s.queue.waiting + s.queue.working, p50: quantile(.5, last.latency.miss, s.latency.miss), p95: quantile(.95, last.latency.miss, s.latency.miss),
			});
			points = points.slice(-most);
		} else if (last && last.since !== s.since) {
			points = [];
		}
		last = s;
		show(s);
		try {
			sessionStorage.setItem(key, JSON.stringify({at: Date.now(), points, last}));
		} catch { /* then the plots begin anew on the next page */ }
	}

	function show(s) {
		const recent = points.slice(-30); // a minute
		const sum = name => recent.reduce((n, p) => n + p[name], 0);
		const now = points.at(-1);
		plot('ratio', points.map(p => p.all ? p.hits / p.all : null), 1.05);
		plot('bytes', points.map(p => p.bytes));
		plot('queue', points.map(p => p.queue), Math.max(s.queue.max_working, ...points.map(p => p.queue)) * 1.1);
		plot('latency', points.map(p => p.p95));
		const all = sum('all');
		say('ratio', all ? (100 * sum('hits') / all).toFixed(1) + ' %' : '–', `${count.format(Math.round(now?.rate ?? 0))} requests/s, last minute`);
		say('bytes', bytes(now?.bytes ?? 0) + '/s', `${bytes(now?.fetched ?? 0)}/s from origins`);
		say('queue', count.format(s.queue.waiting), `waiting, ${s.queue.working} of ${s.queue.max_working} being made`);
		const timed = points.findLast(p => p.p50 !== null);
		say('latency', duration(timed?.p50 ?? null), timed ? `median, 95 % within ${duration(timed.p95)}` : 'none in the last minutes');
		const holds = [];
		if (s.cache.memory) holds.push(`Memory ${bytes(s.cache.memory.bytes)} of ${bytes(s.cache.memory.max_bytes)}`);
		if (s.cache.disk) holds.push(`Disk ${bytes(s.cache.disk.bytes)}` + (s.cache.disk.max_bytes >= 0 ? ` of ${bytes(s.cache.disk.max_bytes)}` : ''));
		holds.push(`${count.format(s.cache.names)} images known`);
		$('#holds').textContent = holds.join(' · ');
	}

	sample();
	setInterval(sample, every);
}

// ---- one job

function startJob() {
	let again = 0;
	const id = $('#job').dataset.id;
	const refreshIn = ms => {
		clearTimeout(again);
		again = setTimeout(() => refresh().catch(() => refreshIn(2000)), ms);
	};
	async function refresh() {
		clearTimeout(again);
		const page = await pageAt(location.pathname);
		const open = $$('#job details').map(d => d.open);
		$('#job').replaceWith($('#job', page));
		$$('#job details').forEach((d, i) => d.open = open[i] ?? false);
		localize($('#job'));
		if (!final($('#job').dataset.state)) refreshIn(2000);
	}
	follow(s => {
		if (s.id === id) refreshIn(100);
	}, refresh);
	return refresh;
}

// ---- begin

localize(document);
switch (document.body.dataset.page) {
case 'log': {
	const log = startLog();
	startActions(async id => log.update(await ask('GET', `/purges/${id}?view=summary`)));
	startForm(log);
	startVitals();
	break;
}
case 'purge':
	startActions(startJob());
	break;
}

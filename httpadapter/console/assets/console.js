// This script saves some steps. Every page works without it.
"use strict";
const each = (selector, f) => document.querySelectorAll(selector).forEach(f);
const words = document.body.dataset;
const make = (name, text, className) => {
	const e = document.createElement(name);
	e.textContent = text;
	if (className) e.className = className;
	return e;
};

// "Create a token" opens a dialog on the page.
each("[data-opens]", (link) => {
	const dialog = document.getElementById(link.dataset.opens);
	if (!dialog || !dialog.showModal) return;
	link.addEventListener("click", (event) => {
		event.preventDefault();
		dialog.showModal();
	});
	dialog.querySelector("[data-closes]").addEventListener("click", () => dialog.close());
});

// reach asks for an image, to learn whether the server can be reached before the page is given up for the reply.
const reach = () => new Promise((found, lost) => {
	const image = new Image();
	image.onload = found;
	image.onerror = lost;
	image.src = document.querySelector("link[rel=icon]").href + "?" + Date.now();
});

// A double click sends a form once. The page says that the form is under way, or that it could not be sent; then, and
// if the browser was stopped, it can be sent again.
each("form[data-once]", (form) => {
	let sent = -Infinity, reached = false, timer;
	const said = make("p", "", "save");
	said.setAttribute("role", "status");
	(form.querySelector(".actions") || form).append(said);
	const say = (what) => {
		said.textContent = words[what] || "";
		said.classList.toggle("wrong", what == "failed");
		form.toggleAttribute("aria-busy", what == "pending");
	};
	form.addEventListener("submit", (event) => {
		if (reached) return void (reached = false);
		event.preventDefault();
		if (event.timeStamp - sent < 1500) return;
		sent = event.timeStamp;
		say("pending");
		clearTimeout(timer);
		timer = setTimeout(say, 10000, "slow");
		const mine = sent;
		reach().then(() => {
			if (mine != sent) return; // it was sent again meanwhile
			reached = true;
			form.requestSubmit(event.submitter);
		}, () => {
			clearTimeout(timer);
			sent = -Infinity;
			say("failed");
			if (event.submitter) event.submitter.focus();
		});
	});
	window.addEventListener("pageshow", () => {
		sent = -Infinity;
		clearTimeout(timer);
		say("");
	});
});

// What was sent and not saved, because the session had ended or the server was lost, is offered again for an hour in
// this tab. It holds no secret: forms like that show none, and take none.
const drafts = {
	key: "console draft " + location.pathname,
	who: (document.querySelector(".who") || {}).textContent,
	keep(form) {
		const fields = [...new FormData(form)].filter(([name]) => name != "form" && name != "do");
		try {
			sessionStorage.setItem(this.key, JSON.stringify({at: Date.now(), who: this.who, fields}));
		} catch {} // it is full, or not allowed
	},
	drop(key) {
		try {
			if (key) return sessionStorage.removeItem(key);
			for (const k of Object.keys(sessionStorage)) if (k.startsWith("console draft ")) sessionStorage.removeItem(k);
		} catch {}
	},
	read() {
		try {
			const draft = JSON.parse(sessionStorage.getItem(this.key));
			return draft && draft.who == this.who && Date.now() - draft.at < 3600000 ? draft : null;
		} catch {
			return null;
		}
	},
};
if (document.querySelector(".notice.good, #secret")) drafts.drop(); // the last form was carried out

// Ask before a page with unsaved changes is left.
each("form[data-guard], form[data-dirty]", (form) => {
	const now = () => JSON.stringify([...new FormData(form)]);
	const drawn = now();
	let leaving = false;
	window.addEventListener("pageshow", () => (leaving = false));
	form.addEventListener("submit", (event) => {
		if (event.defaultPrevented) return;
		leaving = true;
		setTimeout(() => (leaving = false), 1500); // the browser was stopped
		if ("guard" in form.dataset) drafts.keep(form);
	});
	window.addEventListener("beforeunload", (event) => {
		if (!leaving && ("dirty" in form.dataset || now() !== drawn)) event.preventDefault();
	});

	if (!("guard" in form.dataset)) return;
	const draft = drafts.read(), version = (form.elements.version || {}).value || "";
	drafts.drop(drafts.key);
	if (!draft || "dirty" in form.dataset) return; // the server has shown what was typed
	const fields = new Map(draft.fields);
	if ((fields.get("version") || "") != version) return; // it was saved
	const bar = make("form", "", "notice warn draft");
	bar.method = "post";
	bar.action = form.action;
	for (const [name, value] of [...draft.fields, ["form", form.elements.form.value], ["do", "again"]]) {
		const field = make("input", "");
		field.type = "hidden";
		field.name = name;
		field.value = value;
		bar.append(field);
	}
	const discard = make("button", words.discard, "button small");
	discard.type = "button";
	discard.addEventListener("click", () => bar.remove());
	bar.append(make("p", words.draft), make("button", words.restore, "button small"), " ", discard);
	form.before(bar);
});

// After a refusal the errors have the focus, and after a change what was done.
const first = document.querySelector("#errors, main [autofocus]:not(dialog *)");
if (first) first.focus();

// Moments are shown in the reader's zone, with UTC beside them.
const language = document.documentElement.lang == "en" ? "en-GB" : document.documentElement.lang;
const day = {day: "numeric", month: "short", year: "numeric"};
const clock = {hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short"};
const local = (t, with_) => new Intl.DateTimeFormat(language, with_).format(t);
each("time[data-zone]", (e) => {
	const t = new Date(e.dateTime), utc = e.textContent;
	if (isNaN(t) || !t.getTimezoneOffset()) return;
	const sameDay = local(t, day) == local(t, {...day, timeZone: "UTC"});
	if (e.dataset.zone == "day") {
		e.title = local(t, {...day, ...clock}) + " (" + local(t, {...day, ...clock, timeZone: "UTC"}) + ")";
		e.textContent = local(t, day);
		if (!sameDay) e.append(" ", make("small", "(" + utc + " UTC)"));
		return;
	}
	e.textContent = local(t, {...day, ...clock});
	e.append(" ", make("small", "(" + (sameDay ? e.dateTime.slice(11, 16) + " UTC" : utc) + ")"));
});
each("input[type=datetime-local]", (field) => {
	const said = make("small", "");
	const say = () => {
		const t = new Date(field.value + "Z");
		said.textContent = isNaN(t) || !t.getTimezoneOffset() ? "" :
			words.local + " " + local(t, {...day, ...clock});
	};
	field.after(said);
	field.addEventListener("input", say);
	say();
});

each("[data-copies]", (button) => {
	const field = document.getElementById(button.dataset.copies);
	button.hidden = false;
	button.addEventListener("click", async () => {
		field.select();
		let done = true;
		try {
			await navigator.clipboard.writeText(field.value);
		} catch {
			done = document.execCommand("copy"); // where the page is not served over https
		}
		button.textContent = done ? words.copied : words.pressCopy;
		document.getElementById("copied").textContent = button.textContent;
	});
});

// The steps of a long change follow one another.
each("form[data-next]", (form) => form.requestSubmit());

// This script saves some steps. Every page works without it.
"use strict";
const each = (selector, f) => document.querySelectorAll(selector).forEach(f);

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

// A double click sends a form once. If the browser was stopped while sending, the form can be sent again.
each("form[data-once]", (form) => {
	let sent = -Infinity;
	form.addEventListener("submit", (event) => {
		if (event.timeStamp - sent < 1500) event.preventDefault();
		else sent = event.timeStamp;
	});
	window.addEventListener("pageshow", () => (sent = -Infinity));
});

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
	});
	window.addEventListener("beforeunload", (event) => {
		if (!leaving && ("dirty" in form.dataset || now() !== drawn)) event.preventDefault();
	});
});

// After a refusal the errors have the focus.
const errors = document.getElementById("errors");
if (errors) errors.focus();

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
		button.textContent = done ? "Copied" : "Press Ctrl+C";
		document.getElementById("copied").textContent = done ? "Copied." : "Press Ctrl+C to copy.";
	});
});

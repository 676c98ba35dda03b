// Saves some steps. Every page works without it.
"use strict";
const each = (selector, f) => document.querySelectorAll(selector).forEach(f);

// "Create a token" opens the question on the page.
each("[data-opens]", (link) => {
	const dialog = document.getElementById(link.dataset.opens);
	if (!dialog || !dialog.showModal) return;
	link.addEventListener("click", (event) => {
		event.preventDefault();
		dialog.showModal();
	});
	dialog.querySelector("[data-closes]").addEventListener("click", () => dialog.close());
});

// A choice of the filter is sent at once.
each("[data-sends]", (select) => select.addEventListener("change", () => select.form.requestSubmit()));

// A form is sent once. The button is disabled after the browser has read its value, and again enabled when the page comes
// back from the history.
each("form[data-once]", (form) => {
	form.addEventListener("submit", (event) => {
		if (form.dataset.sent) {
			event.preventDefault();
			return;
		}
		form.dataset.sent = "1";
	});
	window.addEventListener("pageshow", () => delete form.dataset.sent);
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
		button.textContent = done ? "Copied" : "Press Ctrl+C";
		document.getElementById("copied").textContent = done ? "Copied." : "Press Ctrl+C to copy.";
	});
});

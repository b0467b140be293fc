// What the pages do beyond plain HTML. Without this file, every page works as well.
"use strict";

const say = (text) => {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
};

// What went wrong and what to do, where it went wrong.
const warn = (text, place) => {
  document.getElementById("warning")?.remove();
  const warning = document.createElement("p");
  warning.id = "warning";
  warning.className = "notice wrong";
  warning.setAttribute("role", "alert");
  warning.textContent = text;
  place.after(warning);
};

// The time after which a form can be sent again, in milliseconds: the server has answered by then, or nobody waits.
const SENT = 20_000;

// A token wherever it stands in a text, with the part that lists show in a group. No address of a page may contain the
// rest.
const TOKEN = /(?:^|[^a-z])([a-z][a-z0-9_]*_[0-9A-Za-z]{4})[0-9A-Za-z]{42}/;

// What a text says if it is encoded as in addresses, in JSON or in base64. The server knows more encodings.
const readings = (text) => {
  const character = (_, hex) => String.fromCharCode(Number.parseInt(hex, 16));
  const plain = text.replace(/%([0-9a-f]{2})/gi, character).replace(/\\u([0-9a-f]{4})/gi, character);
  const decoded = (run) => [0, 1, 2, 3].map((start) => {
    const part = run.slice(start).replaceAll("-", "+").replaceAll("_", "/");
    return atob(part.length % 4 === 1 ? part.slice(0, -1) : part);
  });
  return [plain, ...(plain.match(/[\w+/-]{47,}/g) ?? []).flatMap(decoded)];
};

// A token that nobody has copied or saved yet.
const unsaved = { token: document.querySelector("[data-unsaved]") !== null };

const copy = async (text, button) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The page was opened without TLS, where browsers have no clipboard for it.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    button.focus();
    if (!done) {
      const place = button.closest(".with-copy") ?? button;
      warn("Copying failed. Select the text, and copy it by the keyboard or the menu.", place);
      return false;
    }
  }
  document.getElementById("warning")?.remove();
  const label = button.textContent;
  button.textContent = "Copied";
  say("Copied");
  setTimeout(() => { button.textContent = label; }, 2000);
  return true;
};

const prepare = (root) => {
  for (const button of root.querySelectorAll("[data-copy][hidden]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.getElementById(button.dataset.copy);
      if (await copy(field.value, button) && field.id !== "key-id") unsaved.token = false;
    });
  }
  for (const link of root.querySelectorAll("[data-saves]")) {
    link.addEventListener("click", () => { unsaved.token = false; });
  }
  for (const form of root.querySelectorAll("form[data-copy-response]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "text/plain" },
        redirect: "error",
      }).catch(() => null);
      // The page of the form shows the token, to copy it there.
      if (!answer?.ok || !(await copy(await answer.text(), button))) form.submit();
    });
  }
  for (const form of root.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) return event.preventDefault();
      form.dataset.sent = "yes";
      setTimeout(() => { delete form.dataset.sent; }, SENT);
    });
  }
  for (const form of root.querySelectorAll("form[data-send]")) form.requestSubmit();
  // The next page has the token as well. A part of a page that is loaded leaves nothing.
  for (const form of root.querySelectorAll("form[data-keeps]:not([data-hx-post])")) {
    form.addEventListener("submit", () => { unsaved.leaving = true; });
  }
  for (const field of root.querySelectorAll("input[data-pattern]")) check(field);
};

// The fields of a form by GET become part of an address.
addEventListener("input", ({ target: field }) => {
  if (field.form?.method !== "get") return;
  const token = readings(field.value).map((text) => TOKEN.exec(text)?.[1]).find(Boolean);
  if (token) field.value = token;
}, true);

// The rule for names, before the form is sent. The server checks it again.
const check = (field) => {
  let pattern;
  try {
    pattern = new RegExp(field.dataset.pattern, "u");
  } catch {
    return;
  }
  const error = document.getElementById("name-error");
  const validate = () => {
    const wrong = field.value !== "" && !pattern.test(field.value.trim());
    field.setCustomValidity(wrong ? field.dataset.rule : "");
    field.closest(".field").classList.toggle("invalid", wrong);
    error.textContent = wrong ? field.dataset.rule : "";
    if (wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  field.addEventListener("input", validate);
};

addEventListener("beforeunload", (event) => {
  if (unsaved.token && !unsaved.leaving) event.preventDefault();
});
// A page that comes back from the browser's memory could show a token again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

prepare(document);
document.body.addEventListener("htmx:afterSwap", () => {
  document.getElementById("warning")?.remove();
  prepare(document);
  document.getElementById("instructions")?.focus();
});
document.body.addEventListener("htmx:beforeSwap", (event) => {
  // A form with errors is a page like any other.
  if (event.detail.xhr.status === 422) event.detail.shouldSwap = true;
});

// A part of a page that could not be loaded: the page stays as it is.
const NO_ANSWER = "The server did not answer. Check your connection, and try again.";
const refused = ({ status }) => {
  if (status >= 500 || status === 429) {
    return `The server cannot do this now (status ${status}). Try again in some seconds.`;
  }
  const first = unsaved.token ? "Save the token first, then open" : "Open";
  return `The server refused this (status ${status}). ${first} the page again.`;
};
document.body.addEventListener("htmx:sendError", (event) => warn(NO_ANSWER, event.detail.elt));
document.body.addEventListener("htmx:timeout", (event) => warn(NO_ANSWER, event.detail.elt));
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status !== 422) warn(refused(event.detail.xhr), event.detail.elt);
});

// What the pages do beyond plain HTML. Without this file, every page works as well.
"use strict";

const say = (text) => {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
};

// A token wherever it stands in a text, with the part that lists show in a group. No address of a page may contain the
// rest.
const TOKEN = /(?:^|[^a-z])([a-z][a-z0-9_]*_[0-9A-Za-z]{4})[0-9A-Za-z]{42}/;

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
    if (!done) return say("Copying failed: select the text and copy it.");
  }
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
      if (answer?.ok) await copy(await answer.text(), button);
      else form.submit();
    });
  }
  for (const form of root.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) return event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  for (const form of root.querySelectorAll("form[data-send]")) form.requestSubmit();
  for (const form of root.querySelectorAll("form[data-keeps]")) {
    form.addEventListener("submit", () => { form.dataset.leaving = "yes"; unsaved.leaving = true; });
  }
  for (const field of root.querySelectorAll("input[data-pattern]")) check(field);
};

// The fields of a form by GET become part of an address.
addEventListener("input", ({ target: field }) => {
  const token = field.form?.method === "get" && TOKEN.exec(field.value)?.[1];
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
  const judge = () => {
    const wrong = field.value !== "" && !pattern.test(field.value);
    field.setCustomValidity(wrong ? field.dataset.rule : "");
    field.closest(".field").classList.toggle("invalid", wrong);
    error.textContent = wrong ? field.dataset.rule : "";
    if (wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  field.addEventListener("input", judge);
};

addEventListener("beforeunload", (event) => {
  if (unsaved.token && !unsaved.leaving) event.preventDefault();
});
// A page that comes back from the browser's memory could show a token again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

prepare(document);
document.body.addEventListener("htmx:afterSwap", (event) => {
  unsaved.leaving = false;
  prepare(document);
  document.getElementById("instructions")?.focus();
});
document.body.addEventListener("htmx:beforeSwap", (event) => {
  // A form with errors is a page like any other.
  if (event.detail.xhr.status === 422) event.detail.shouldSwap = true;
});

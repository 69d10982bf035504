// What forms gain from JavaScript: a box that selects a whole list, previews of pictures, the progress of an upload. Every
// form also works without it.

const lang = document.documentElement.lang.startsWith("zh") ? 0 : 1;

for (const form of document.querySelectorAll("form[data-resume]")) form.requestSubmit();
for (const input of document.querySelectorAll("input[type=file]")) input.addEventListener("change", () => preview(input));
for (const form of document.querySelectorAll("form[enctype='multipart/form-data']")) form.addEventListener("submit", (event) => send(event, form));
// On a narrow screen the navigation scrolls; the section of the page is in sight.
document.querySelector(".sections [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
const bulk = document.querySelector("#bulk");
if (bulk) selectAll();

/** A box in the table's head selects all others; the button says how many there are. */
function selectAll() {
  const boxes = [...document.querySelectorAll("input[form=bulk][name=product]")];
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", ["全选", "Select all"][lang]);
  document.querySelector("th.select").replaceChildren(all);
  const button = bulk.querySelector("button");
  const label = button.textContent;
  const count = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length && chosen > 0;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    button.disabled = chosen === 0;
    button.textContent = chosen > 0 ? `${label} (${chosen})` : label;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  for (const box of boxes) box.addEventListener("change", count);
  count();
}

function preview(input) {
  const list = input.closest("form").querySelector(".previews");
  if (!list) return;
  for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  list.replaceChildren(...[...input.files].map((file) => {
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.src = URL.createObjectURL(file);
    image.alt = file.name;
    item.append(image);
    return item;
  }));
}

function send(event, form) {
  event.preventDefault();
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", ["上传进度", "Progress of the upload"][lang]);
  form.append(bar);
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", (sent) => (bar.value = sent.loaded / sent.total));
  request.addEventListener("load", () => {
    const target = new URL(form.action).href;
    if (request.status < 400 && request.responseURL !== target) return location.assign(request.responseURL);
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const main = page.querySelector("main");
    if (!main) return location.assign(target);
    document.querySelector("main").replaceWith(main);
    main.focus();
    for (const next of main.querySelectorAll("form[enctype='multipart/form-data']")) next.addEventListener("submit", (sent) => send(sent, next));
  });
  // Without an answer the browser sends the form itself and shows why it can't.
  request.addEventListener("error", () => form.submit());
  request.open("POST", form.action);
  request.send(new FormData(form));
}

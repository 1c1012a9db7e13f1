// Shows /openapi.json: every endpoint with what it takes and answers, and a form to try it.
"use strict";

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

let api;

const resolve = (schema) => {
  while (schema && schema.$ref) schema = api.components.schemas[schema.$ref.split("/").pop()];
  return schema || {};
};

const kinds = (schema) => {
  if (schema.$ref && !resolve(schema).properties) return schema.$ref.split("/").pop();
  schema = resolve(schema);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map(kinds).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${kinds(schema.items || {})}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type || "any";
};

const bounds = (schema) => {
  const choices = [resolve(schema), ...(resolve(schema).anyOf || []).map(resolve)];
  const says = [];
  for (const { minimum, maximum, maxLength, maxItems } of choices) {
    if (minimum !== undefined && maximum !== undefined && maximum < 1e15) says.push(`${minimum} to ${maximum}`);
    if (maxLength) says.push(`at most ${maxLength} characters`);
    if (maxItems) says.push(`at most ${maxItems}`);
  }
  if (resolve(schema).default !== undefined && resolve(schema).default !== null) {
    says.push(`default ${JSON.stringify(resolve(schema).default)}`);
  }
  return says.join(", ");
};

const fields = (schema, marked = true, depth = 0) => {
  schema = resolve(schema);
  for (const choice of schema.anyOf || []) if (resolve(choice).properties) return fields(choice, marked, depth);
  if (schema.type === "array") return fields(schema.items, marked, depth);
  if (!schema.properties || depth > 2) return null;
  const rows = Object.entries(schema.properties).map(([name, inner]) =>
    make("tr", {},
      make("td", {}, make("code", {}, name), marked && (schema.required || []).includes(name) ? " *" : ""),
      make("td", {}, kinds(inner)),
      make("td", {}, [inner.description, bounds(inner)].filter(Boolean).join("; "), fields(inner, marked, depth + 1))));
  return make("table", {}, ...rows);
};

const example = (schema) => {
  schema = resolve(schema);
  if (schema.properties) {
    const wanted = schema.required || Object.keys(schema.properties).slice(0, 1);
    return Object.fromEntries(wanted.map((name) => [name, example(schema.properties[name])]));
  }
  if (schema.anyOf) return example(schema.anyOf[0]);
  return { string: "...", integer: schema.minimum || 1, number: 1, boolean: true, array: [], object: {} }[schema.type] ?? "...";
};

const attempt = (method, path, operation) => {
  const result = make("pre", { hidden: "" });
  const inputs = (operation.parameters || []).map((parameter) => ({
    ...parameter, input: make("input", { "aria-label": parameter.name, placeholder: kinds(parameter.schema) }),
  }));
  const [type, body] = Object.entries((operation.requestBody || {}).content || {})[0] || [];
  const text = type && make("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (text) text.value = type === "application/json" ? JSON.stringify(example(body.schema), null, 2) : '{"content": "..."}\n';
  const send = async () => {
    const query = new URLSearchParams();
    let url = path;
    for (const { name, in: place, input } of inputs) {
      if (place === "path") url = url.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(name, input.value);
    }
    if (query.size) url += `?${query}`;
    const headers = {};
    if (type) headers["Content-Type"] = type;
    const token = document.getElementById("token").value;
    if (token) headers.Authorization = `Bearer ${token}`;
    result.hidden = false;
    result.textContent = "...";
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: text ? text.value : undefined });
      const said = await response.text();
      let shown = said;
      if ((response.headers.get("Content-Type") || "").startsWith("application/json")) shown = JSON.stringify(JSON.parse(said), null, 2);
      result.textContent = `${response.status} ${response.statusText}\n${shown}`;
    } catch (error) {
      result.textContent = String(error);
    }
  };
  return make("div", {},
    make("h3", {}, "Try it"),
    make("table", {}, ...inputs.map(({ name, input }) => make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, input)))),
    text || "", make("br"), make("button", { type: "button", onclick: send }, "Send"), result);
};

const endpoint = (method, path, operation) => {
  const parts = [];
  if (operation.parameters) {
    const asSchema = {
      properties: Object.fromEntries(operation.parameters.map((parameter) => [parameter.name, { ...parameter.schema, description: parameter.description }])),
      required: operation.parameters.filter((parameter) => parameter.required).map((parameter) => parameter.name),
    };
    parts.push(make("h3", {}, "Parameters"), fields(asSchema));
  }
  for (const [type, body] of Object.entries((operation.requestBody || {}).content || {})) {
    parts.push(make("h3", {}, `Body (${type})`), fields(body.schema) || make("p", {}, "text"));
  }
  parts.push(make("h3", {}, "Answers"));
  parts.push(make("table", {}, ...Object.entries(operation.responses).map(([status, answer]) => {
    const [type, content] = Object.entries(answer.content || {})[0] || [];
    return make("tr", {},
      make("td", {}, make("code", {}, status)),
      make("td", {}, `${answer.description}${type && type !== "application/json" ? ` (${type})` : ""}`),
      make("td", {}, Number(status) < 300 && content ? fields(content.schema, false) : null));
  })));
  parts.push(attempt(method, path, operation));
  return make("details", { class: "endpoint", id: operation.operationId },
    make("summary", {},
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", { class: "path" }, path),
      make("span", { class: "says" }, operation.summary)),
    make("div", {}, ...parts));
};

const opened = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};

const show = async () => {
  const main = document.getElementById("endpoints");
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (error) {
    main.replaceChildren(make("p", {}, `The document could not be read: ${error}`));
    return;
  }
  document.getElementById("about").textContent = `${api.info.description} * marks what must be given.`;
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, operation]);
    }
  }
  main.replaceChildren();
  const contents = document.getElementById("contents");
  for (const [tag, members] of groups) {
    main.append(make("section", {}, make("h2", {}, tag), ...members.map((member) => endpoint(...member))));
    contents.append(make("h2", {}, tag), ...members.map(([method, path, operation]) =>
      make("a", { href: `#${operation.operationId}` }, make("span", { class: method }, method.toUpperCase()), ` ${path}`)));
  }
  addEventListener("hashchange", opened);
  opened();
};

show();

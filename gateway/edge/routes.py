"""The REST endpoints, as a table: path, who answers, what it takes, what it may answer."""
# ruff: noqa: E501 (a table is read by its columns)

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from gateway.edge import (
    automations,
    cache,
    conversation,
    conversations,
    documents,
    home,
    measurements,
    memory,
    ollama,
    ollama_rest,
    openai,
    preferences,
    status,
    training,
)
from gateway.edge.api import FORM, ID_PATH, JSON, JSON_LINES, Endpoint, Nothing
from gateway.edge.keys import OPENAPI, SETTINGS
from gateway.edge.middleware import mark_response
from gateway.edge.openapi import document

# fmt: off
ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("POST",   "/conversation",       conversation.converse, conversation.ConversationRequest, {200: conversation.ConversationReply}, "Say something to the assistant", events=True),

    Endpoint("POST",   "/memory/add",         memory.add,          memory.Addition,       {200: memory.Kept, 201: memory.Kept, 202: memory.Reference}, "Keep something"),
    Endpoint("GET",    "/memory/search",      memory.search,       memory.Search,         {200: memory.Results},  "Find by meaning and by words"),
    Endpoint("GET",    "/memory/suggest",     memory.suggest,      memory.Suggestions,    {200: memory.Suggested},  "Complete what is typed"),
    Endpoint("POST",   "/memory/import",      memory.import_lines, Nothing,               {200: memory.Imported}, "Keep many things, a JSON object a line", streams=(JSON_LINES, "text/plain")),
    Endpoint("POST",   "/memory/forget",      memory.forget,       memory.Oblivion,       {200: memory.Forgotten}, "Forget for good, everywhere; first see what would go"),
    Endpoint("GET",    "/memory",             memory.page,         memory.Page,           {200: memory.Entries},  "List what is kept"),
    Endpoint("GET",    f"/memory/{ID_PATH}",  memory.read,         Nothing,               {200: memory.Entry},    "Read an entry"),
    Endpoint("PATCH",  f"/memory/{ID_PATH}",  memory.change,       memory.Change,         {200: memory.Entry},    "Correct an entry"),
    Endpoint("DELETE", f"/memory/{ID_PATH}",  memory.delete,       Nothing,               {204: None},            "Forget an entry"),
    Endpoint("GET",    f"/memory/{ID_PATH}/history", memory.history, Nothing,             {200: memory.History},  "Read what an entry was before"),
    Endpoint("POST",   f"/memory/{ID_PATH}/restore", memory.restore, memory.Restoration,  {200: memory.Entry},    "Put back what an entry was before"),

    Endpoint("POST",   "/documents",          documents.add,       Nothing,               {200: documents.Paper, 202: documents.Paper}, "Take a document in", streams=(FORM,), form="Upload"),
    Endpoint("GET",    "/documents",          documents.page,      documents.Page,        {200: documents.Papers}, "List documents"),
    Endpoint("GET",    f"/documents/{ID_PATH}", documents.read,    Nothing,               {200: documents.Paper}, "Read about a document"),
    Endpoint("PUT",    f"/documents/{ID_PATH}", documents.replace, Nothing,               {200: documents.Paper, 202: documents.Paper}, "Replace a document", fails=(409,), streams=(FORM,), form="Replacement"),
    Endpoint("PATCH",  f"/documents/{ID_PATH}", documents.change,  documents.Change,      {200: documents.Paper}, "Rename, file or tag a document"),
    Endpoint("DELETE", f"/documents/{ID_PATH}", documents.delete,  Nothing,               {204: None},            "Forget a document and all that came from it"),

    Endpoint("POST",   "/measurements",       measurements.add,    measurements.Intake,   {200: measurements.Taken}, "Take in what sensors told", streams=measurements.TYPES, form="Replacement"),
    Endpoint("GET",    "/measurements",       measurements.read,   measurements.Wanted,   {200: measurements.History}, "What an entity told, in parts of the time"),
    Endpoint("DELETE", "/measurements",       measurements.delete, measurements.Unwanted, {200: measurements.Deleted}, "Forget what an entity told"),
    Endpoint("GET",    "/measurements/entities", measurements.entities, Nothing,          {200: measurements.Entities}, "Entities of which something is kept"),

    Endpoint("GET",    "/home/entities",      home.entities,       home.Filter,           {200: home.Entities},   "What stands at home, and how"),
    Endpoint("GET",    "/home/events",        home.events,         Nothing,               {200: home.EVENTS},     "Follow what changes at home (server-sent events)"),
    Endpoint("GET",    "/home/actions",       home.actions,        home.Listing,          {200: home.Actions},    "What was done at home, newest first"),

    Endpoint("POST",   "/preferences/set",    preferences.put,     preferences.Setting,   {200: preferences.Item, 201: preferences.Item, 202: preferences.AcceptedKey}, "Set a preference"),
    Endpoint("GET",    "/preferences/get",    preferences.get,     preferences.Wanted,    {200: preferences.ItemOrItems}, "Read by key or category", fails=(404,)),
    Endpoint("GET",    "/preferences",        preferences.page,    preferences.Listing,   {200: preferences.Items}, "List preferences"),
    Endpoint("GET",    f"/preferences/{ID_PATH}", preferences.read,   Nothing,            {200: preferences.Item}, "Read a preference"),
    Endpoint("PATCH",  f"/preferences/{ID_PATH}", preferences.change, preferences.Correction, {200: preferences.Item}, "Correct a preference"),
    Endpoint("DELETE", f"/preferences/{ID_PATH}", preferences.delete, Nothing,            {204: None},            "Forget a preference"),

    Endpoint("GET",    "/home/automations",   automations.listing, Nothing,               {200: automations.Automations}, "What the home does by itself", fails=(404,)),
    Endpoint("POST",   "/home/automations/reload", automations.reload, Nothing,           {200: automations.Automations}, "Read the automations' file anew", fails=(404,)),
    Endpoint("GET",    f"/home/automations/{automations.PATH}/traces", automations.traces, Nothing, {200: automations.Traces}, "What an automation's last runs came to", fails=(404,)),

    Endpoint("GET",    "/conversations",      conversations.page,  conversations.Range,   {200: conversations.SaidPage}, "List what was said"),

    Endpoint("POST",   "/training/feedback",  training.feedback,   training.Opinion,      {200: training.Noted, 201: training.Noted, 202: training.Noted}, "Score a turn", fails=(404,)),
    Endpoint("GET",    "/training/export",    training.export,     training.Selection,    {200: JSON_LINES},      "Training data, chat messages a line", fails=(409,)),

    Endpoint("GET",    "/cache/stats",        cache.stats,         Nothing,               {200: cache.Stats},     "How the cache does"),
    Endpoint("DELETE", "/cache/clear",        cache.clear,         cache.Clearing,        {200: cache.Cleared},   "End stored answers"),

    Endpoint("GET",    "/healthz",            status.healthz,      Nothing,               {200: status.Alive},    "Whether the process lives", everyone=True),
    Endpoint("GET",    "/readyz",             status.readyz,       Nothing,               {200: status.Readiness, 503: status.Readiness}, "Whether a turn could be answered", everyone=True),
    Endpoint("GET",    "/metrics",            status.metrics,      Nothing,               {200: "text/plain"},    "Figures for Prometheus"),
    Endpoint("GET",    "/openapi.json",       status.openapi,      Nothing,               {200: JSON},            "This document", everyone=True),
    Endpoint("GET",    "/docs",               status.docs,         Nothing,               {200: "text/html"},     "A page to read it", everyone=True),
    Endpoint("GET",    "/docs/docs.js",       status.docs_script,  Nothing,               {200: "text/javascript"}, "That page's script", everyone=True),
    Endpoint("GET",    "/docs/docs.css",      status.docs_style,   Nothing,               {200: "text/css"},      "That page's style", everyone=True),
)
# fmt: on

# Other people's APIs, theirs to document: their clients know them. The order counts: the last of Ollama's takes the rest.
THEIRS = (
    ("GET",  "/",                     ollama_rest.root),
    ("HEAD", "/",                     ollama_rest.root),
    ("POST", "/api/chat",             ollama.chat),
    ("GET",  "/api/tags",             ollama.tags),
    ("GET",  "/api/version",          ollama.version),
    ("POST", "/api/generate",         ollama_rest.generate),
    ("POST", "/api/pull",             ollama_rest.pull),
    ("POST", "/api/show",             ollama_rest.show),
    ("GET",  "/api/ps",               ollama_rest.ps),
    ("POST", "/api/embed",            ollama_rest.embed),
    ("POST", "/api/embeddings",       ollama_rest.embeddings),
    ("*",    "/api/{rest:.*}",        ollama_rest.anything),
    ("POST", "/v1/chat/completions",  openai.chat),
    ("GET",  "/v1/models",            openai.models),
    ("GET",  "/v1/models/{model:.+}", openai.model),
    ("POST", "/v1/embeddings",        openai.embeddings),
)  # fmt: skip
# A client that can send no header says who it is by its address: http://<gateway>/as/<token>/ and, for a client whose
# failures are to be told in words, http://<gateway>/ha/ (or both: /as/<token>/ha/).
DOOR = "/{door:(?:as/[^/]+/(?:ha/)?|ha/)}"


def register(app: web.Application, *more: Endpoint[Any]) -> None:
    """Adds every endpoint of the table, and `more`, to `app` (which has SETTINGS), and the document made of them."""
    endpoints = (*ENDPOINTS, *more)
    for endpoint in endpoints:
        app.router.add_route(endpoint.method, endpoint.path, endpoint.respond)
    for method, path, handler in THEIRS:
        app.router.add_route(method, path, handler)
        app.router.add_route(method, DOOR + path.removeprefix("/"), handler)
    app.on_response_prepare.append(mark_response)
    app[home.FOLLOWERS] = set()
    app.on_shutdown.append(home.end_events)
    app[OPENAPI] = orjson.dumps(document(endpoints, max_text=app[SETTINGS].server.max_text_characters))

/* As much of XML as listings of settings use. Not a validating parser: documents with a DTD or entities
 * of their own are refused. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/import.h"

enum {
	XML_DEPTH = 32,
	XML_NAME = 128,
};

struct xml {
	const char *at, *end;
	unsigned line, depth;
	const char *why;
};

static json_t *
xml_wrong(struct xml *xml, const char *why)
{
	if (!xml->why)
		xml->why = why;
	return NULL;
}

static bool
xml_starts(const struct xml *xml, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(xml->end - xml->at) >= len && memcmp(xml->at, word, len) == 0;
}

static void
xml_move(struct xml *xml, const char *to)
{
	for (; xml->at < to; xml->at++)
		xml->line += *xml->at == '\n';
}

/* Behind the word; false when it never comes. */
static bool
xml_skip_to(struct xml *xml, const char *word)
{
	while (xml->at < xml->end && !xml_starts(xml, word))
		xml_move(xml, xml->at + 1);
	if (xml->at >= xml->end)
		return false;
	xml_move(xml, xml->at + strlen(word));
	return true;
}

/* Comments and declarations, wherever they stand. False: broken. */
static bool
xml_skip_other(struct xml *xml)
{
	for (;;) {
		if (xml_starts(xml, "<!--")) {
			if (!xml_skip_to(xml, "-->"))
				return xml_wrong(xml, "a comment never ends") != NULL;
		} else if (xml_starts(xml, "<?")) {
			if (!xml_skip_to(xml, "?>"))
				return xml_wrong(xml, "a declaration never ends") != NULL;
		} else if (xml_starts(xml, "<!DOCTYPE") || xml_starts(xml, "<!ENTITY")) {
			return xml_wrong(xml, "document types are not read") != NULL;
		} else {
			return true;
		}
	}
}

static void
xml_character(struct text *text, unsigned long code)
{
	char utf8[4];

	if (code < 0x80) {
		utf8[0] = (char)code;
		text_add(text, utf8, 1);
	} else if (code < 0x800) {
		utf8[0] = (char)(0xc0 | code >> 6);
		utf8[1] = (char)(0x80 | (code & 0x3f));
		text_add(text, utf8, 2);
	} else if (code < 0x10000) {
		utf8[0] = (char)(0xe0 | code >> 12);
		utf8[1] = (char)(0x80 | (code >> 6 & 0x3f));
		utf8[2] = (char)(0x80 | (code & 0x3f));
		text_add(text, utf8, 3);
	}
}

/* At &: one of the five entities of XML, or a number. */
static bool
xml_entity(struct xml *xml, struct text *text)
{
	static const struct { const char *name; char is; } known[] = {
		{ "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' }, { "&apos;", '\'' },
	};
	char digits[12], *end;
	unsigned long code;

	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (xml_starts(xml, known[i].name)) {
			text_add(text, &known[i].is, 1);
			xml->at += strlen(known[i].name);
			return true;
		}
	}
	if (!xml_starts(xml, "&#"))
		return xml_wrong(xml, "an entity that XML does not have") != NULL;
	snprintf(digits, sizeof(digits), "%.*s", (int)(xml->end - xml->at - 2 > 10 ? 10
		 : xml->end - xml->at - 2), xml->at + 2);
	code = digits[0] == 'x' ? strtoul(digits + 1, &end, 16) : strtoul(digits, &end, 10);
	if (*end != ';' || code == 0)
		return xml_wrong(xml, "a character's number is wrong") != NULL;
	xml->at += 2 + (end - digits) + 1;
	xml_character(text, code);
	return true;
}

static bool
xml_name(struct xml *xml, char out[static XML_NAME])
{
	size_t n = 0;

	while (xml->at < xml->end && (isalnum((unsigned char)*xml->at) || strchr("_-.:", *xml->at)) &&
	       *xml->at && n < XML_NAME - 1)
		out[n++] = *xml->at++;
	out[n] = '\0';
	return n > 0 || xml_wrong(xml, "an element has no name");
}

/* The rest of a start tag. *empty: it is an end, too. */
static bool
xml_tag_end(struct xml *xml, bool *empty)
{
	char quote = 0;

	for (; xml->at < xml->end; xml_move(xml, xml->at + 1)) {
		if (quote) {
			quote = *xml->at == quote ? 0 : quote;
		} else if (*xml->at == '"' || *xml->at == '\'') {
			quote = *xml->at;
		} else if (*xml->at == '>') {
			*empty = xml->at[-1] == '/';
			xml->at++;
			return true;
		}
	}
	return xml_wrong(xml, "a tag never ends") != NULL;
}

/* Puts a child where others of its name may be. */
static void
xml_put(json_t *object, const char *name, json_t *child)
{
	json_t *there = json_object_get(object, name), *array;

	if (!there) {
		json_object_set_new(object, name, child);
	} else if (json_is_array(there)) {
		json_array_append_new(there, child);
	} else {
		array = json_array();
		json_array_append(array, there);
		json_array_append_new(array, child);
		json_object_set_new(object, name, array);
	}
}

static json_t *xml_element(struct xml *xml, char name[static XML_NAME]);

/* Up to the end tag of `name`. */
static json_t *
xml_content(struct xml *xml, const char *name)
{
	json_t *object = json_object(), *child, *result = NULL;
	char inner[XML_NAME], closing[XML_NAME];
	struct text text = { 0 };

	text_puts(&text, "");
	while (!xml->why && xml->at < xml->end) {
		if (!xml_skip_other(xml)) {
			break;
		} else if (xml_starts(xml, "<![CDATA[")) {
			const char *from = xml->at + 9;

			if (!xml_skip_to(xml, "]]>"))
				xml_wrong(xml, "CDATA never ends");
			else
				text_add(&text, from, (size_t)(xml->at - 3 - from));
		} else if (xml_starts(xml, "</")) {
			xml->at += 2;
			if (!xml_name(xml, closing) || strcmp(closing, name) != 0 || !xml_skip_to(xml, ">"))
				xml_wrong(xml, "an end tag that does not belong to the start tag");
			else
				result = json_object_size(object) ? json_incref(object)
				       : json_stringn(text.at, text.len);
			if (!xml->why && !result)
				xml_wrong(xml, "text that is not UTF-8");
			break;
		} else if (*xml->at == '<') {
			child = xml_element(xml, inner);
			if (child)
				xml_put(object, inner, child);
		} else if (*xml->at == '&') {
			xml_entity(xml, &text);
		} else {
			text_add(&text, xml->at, 1);
			xml_move(xml, xml->at + 1);
		}
	}
	if (!xml->why && !result)
		xml_wrong(xml, "an element is never closed");
	text_free(&text);
	json_decref(object);
	return result;
}

static json_t *
xml_element(struct xml *xml, char name[static XML_NAME])
{
	json_t *result;
	bool empty = false;

	if (xml->at >= xml->end || *xml->at != '<')
		return xml_wrong(xml, "an element is expected");
	if (++xml->depth > XML_DEPTH)
		return xml_wrong(xml, "elements are nested too deep");
	xml->at++;
	if (!xml_name(xml, name) || !xml_tag_end(xml, &empty))
		return NULL;
	result = empty ? json_string("") : xml_content(xml, name);
	xml->depth--;
	return result;
}

json_t *
import_xml(const char *text, size_t len, unsigned *line, const char **why)
{
	struct xml xml = { .at = text, .end = text + len, .line = 1 };
	json_t *root = json_object(), *element = NULL;
	char name[XML_NAME];

	while (xml.at < xml.end && isspace((unsigned char)*xml.at))
		xml_move(&xml, xml.at + 1);
	while (xml_skip_other(&xml) && xml.at < xml.end && isspace((unsigned char)*xml.at))
		xml_move(&xml, xml.at + 1);
	if (!xml.why)
		element = xml_element(&xml, name);
	*line = xml.line;
	*why = xml.why;
	if (!element) {
		json_decref(root);
		return NULL;
	}
	json_object_set_new(root, name, element);
	return root;
}

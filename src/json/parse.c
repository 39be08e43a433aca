/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "json/json_value.h"
#include "json/scan.h"

#include <assert.h>

/*
 * One pass over a copy of the text in the document's arena. Strings are unescaped in place and, like numbers, ended by a NUL in
 * place: the closing quote, or the separator after a number once it has been looked at. Values are taken from chunks sized by
 * the text. Containers that are open stand on a stack of bounded depth.
 */
struct frame {
        struct json_value *container;
        struct json_value *last;
        uint64_t seen; /* one bit per key met, by key_mark() */
};

struct parser {
        const char *text;  /* as given, for line numbers */
        char *start, *end; /* the copy; zeroes behind @end */
        char *p;
        struct json_doc *doc;
        struct json_value *spare, *spare_end;
        size_t chunk;
        size_t nodes_left;
        unsigned depth, max_depth;
        struct json_fault *fault;
        struct frame stack[LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP];
};

#define TAIL_ZEROES 16

static bool is_space(char c)
{
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int refuse(struct parser *ps, int outcome, const char *at, const char *reason, const char *key)
{
        size_t offset = (size_t)(at - ps->start);
        unsigned line = 1;

        for (size_t i = 0; i < offset; i++)
                line += ps->text[i] == '\n';
        if (key)
                json_fault_set(ps->fault, offset, line, "%s \"%s\"", reason, key);
        else
                json_fault_set(ps->fault, offset, line, "%s", reason);
        return outcome;
}

static int refuse_syntax(struct parser *ps, const char *at, const char *reason)
{
        return refuse(ps, JSON_E_SYNTAX, at, at >= ps->end ? "the text ends in the middle" : reason, NULL);
}

static bool refill(struct parser *ps)
{
        size_t n = MIN(ps->chunk, ps->nodes_left);

        if (!n)
                return false;
        /* a text that is richer than was guessed gets what it lacks in smaller pieces */
        if (!ps->spare_end)
                ps->chunk = MAX(ps->chunk / 4, 8);
        ps->spare = arena_alloc_raw(ps->doc->arena, n * sizeof(struct json_value));
        ps->spare_end = ps->spare + n;
        ps->nodes_left -= n;
        return true;
}

static inline struct json_value *take_value(struct parser *ps)
{
        struct json_value *value;

        if (G_UNLIKELY(ps->spare == ps->spare_end) && !refill(ps))
                return NULL;
        value = ps->spare++;
        value->next = NULL;
        value->linked = true;
        value->indexed = false;
        return value;
}

static int hex4(const char *s)
{
        int number = 0;

        for (int i = 0; i < 4; i++) {
                int digit = g_ascii_xdigit_value(s[i]);

                if (digit < 0)
                        return -1;
                number = number * 16 + digit;
        }
        return number;
}

/* The code point of the \u escape at @s ("u" and four digits, perhaps a second surrogate); -1 when there is none. */
static int unescape_unicode(const char *s, size_t *ret_len)
{
        int code = hex4(s + 1), low;

        *ret_len = 5;
        if (code < 0xd800 || code > 0xdfff)
                return code;
        if (code > 0xdbff || s[5] != '\\' || s[6] != 'u')
                return -1;
        low = hex4(s + 7);
        if (low < 0xdc00 || low > 0xdfff)
                return -1;
        *ret_len = 11;
        return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static char *put_utf8(char *to, int code)
{
        return to + g_unichar_to_utf8((gunichar)code, to);
}

static char single_escape(char c)
{
        switch (c) {
        case '"':
        case '\\':
        case '/':
                return c;
        case 'b':
                return '\b';
        case 'f':
                return '\f';
        case 'n':
                return '\n';
        case 'r':
                return '\r';
        case 't':
                return '\t';
        default:
                return 0;
        }
}

/* Past the bytes that stand for themselves. */
static inline char *skip_plain(char *s)
{
        for (;; s += JSON_SCAN_BYTES) {
                unsigned marks = json_scan_special(s);

                if (marks)
                        return s + json_scan_first(marks);
        }
}

/* One escape from @from to @to, which move. */
static int unescape(struct parser *ps, char **from, char **to)
{
        char *s = *from;
        size_t len;
        int code;

        if (s[1] != 'u') {
                char c = single_escape(s[1]);

                if (!c)
                        return refuse_syntax(ps, s, "unknown escape in a string");
                *(*to)++ = c;
                *from = s + 2;
                return 0;
        }
        code = unescape_unicode(s + 1, &len);
        if (code < 0)
                return refuse_syntax(ps, s, "malformed \\u escape or lone surrogate in a string");
        if (code == 0)
                return refuse_syntax(ps, s, "U+0000 in a string");
        *to = put_utf8(*to, code);
        *from = s + 1 + len;
        return 0;
}

/* The rest of a string from the first byte that does not stand for itself; ps->p ends behind the closing quote. */
static int parse_string_slowly(struct parser *ps, char *from, char **ret_end)
{
        char *to = from;
        int r;

        for (;;) {
                unsigned char c = (unsigned char)*from;
                char *run = from;

                if (c == '"')
                        break;
                if (c == '\\') {
                        r = unescape(ps, &from, &to);
                        if (r)
                                return r;
                        continue;
                }
                if (c < 0x20)
                        return refuse_syntax(ps, from, "control character in a string");
                if (c >= 0x80) {
                        unsigned n = json_utf8_length((const unsigned char *)from);

                        if (!n)
                                return refuse_syntax(ps, from, "malformed UTF-8 in a string");
                        from += n;
                } else {
                        from = skip_plain(from);
                }
                memmove(to, run, (size_t)(from - run));
                to += from - run;
        }
        *to = 0;
        *ret_end = to;
        ps->p = from + 1;
        return 0;
}

/* ps->p stands behind the opening quote. */
static inline int parse_string(struct parser *ps, const char **ret_text, uint32_t *ret_len)
{
        char *start = ps->p, *end = skip_plain(start);

        if (G_LIKELY(*end == '"')) {
                *end = 0;
                ps->p = end + 1;
        } else {
                int r = parse_string_slowly(ps, end, &end);

                if (r)
                        return r;
        }
        *ret_text = start;
        *ret_len = (uint32_t)(end - start);
        return 0;
}

static int parse_number(struct parser *ps, struct json_value *value)
{
        char *s = ps->p;

        /* plain digits are nearly all there is */
        if (*s >= '1' && *s <= '9')
                while (*s >= '0' && *s <= '9')
                        s++;
        if (s == ps->p || *s == '.' || *s == 'e' || *s == 'E') {
                const char *end = json_number_end(ps->p);

                if (!end)
                        return refuse_syntax(ps, ps->p, "malformed number");
                s = ps->p + (end - ps->p);
        }
        value->type = JSON_NUMBER;
        value->text = ps->p;
        value->len = (uint32_t)(s - ps->p);
        ps->p = s;
        return 0;
}

static int parse_word(struct parser *ps, struct json_value *value)
{
        static const struct {
                const char *word;
                unsigned len;
                enum json_type type;
        } words[] = {{"true", 4, JSON_TRUE}, {"false", 5, JSON_FALSE}, {"null", 4, JSON_NULL}};

        for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
                if (memcmp(ps->p, words[i].word, words[i].len) != 0)
                        continue;
                value->type = (uint8_t)words[i].type;
                value->text = NULL;
                value->len = 0;
                ps->p += words[i].len;
                return 0;
        }
        return refuse_syntax(ps, ps->p, "a value is expected");
}

static int open_container(struct parser *ps, struct json_value *value, enum json_type type)
{
        if (ps->depth == ps->max_depth)
                return refuse(ps, JSON_E_LIMIT, ps->p, "nested too deeply", NULL);
        value->type = (uint8_t)type;
        value->len = 0;
        value->first = NULL;
        value->last = NULL;
        ps->stack[ps->depth++] = (struct frame){.container = value};
        ps->p++;
        return 0;
}

/* One value at ps->p. A container is only opened: it is on the stack afterwards. */
static inline int parse_value(struct parser *ps, struct json_value *value)
{
        char c = *ps->p;

        if (c == '"') {
                value->type = JSON_STRING;
                ps->p++;
                return parse_string(ps, &value->text, &value->len);
        }
        if (c == '{')
                return open_container(ps, value, JSON_OBJECT);
        if (c == '[')
                return open_container(ps, value, JSON_ARRAY);
        if (c == '-' || (c >= '0' && c <= '9'))
                return parse_number(ps, value);
        return parse_word(ps, value);
}

static void close_container(struct parser *ps, struct frame *frame)
{
        struct json_value *container = frame->container;

        if (container->indexed)
                container->index->last = frame->last;
        else
                container->last = frame->last;
        ps->depth--;
        ps->p++;
}

static inline void link_value(struct frame *frame, struct json_value *value)
{
        if (frame->last)
                frame->last->next = value;
        else
                frame->container->first = value;
        frame->last = value;
        frame->container->len++;
}

/* A small fingerprint that spares most comparisons with earlier keys. */
static inline uint64_t key_mark(const char *key, uint32_t len)
{
        unsigned mix = len ? (unsigned char)key[0] * 7u + (unsigned char)key[len - 1] * 3u + (unsigned char)key[len / 2] + len : 0;

        return 1ull << (mix & 63);
}

static bool is_duplicate(const struct frame *frame, const char *key, uint32_t len)
{
        for (const struct json_value *v = frame->container->first; v; v = v->next)
                if (json_text_is(v->key, v->key_len, key, len))
                        return true;
        return false;
}

/* Link @value, whose key is set, unless its key is there already. */
static inline bool link_member(struct parser *ps, struct frame *frame, struct json_value *value)
{
        struct json_value *object = frame->container;
        uint64_t mark;

        if (G_UNLIKELY(object->indexed)) {
                value->hash = json_hash(value->key, value->key_len);
                if (json_index_find(object, value->key, value->key_len, value->hash))
                        return false;
                link_value(frame, value);
                json_index_add(ps->doc->arena, object, value);
                return true;
        }
        mark = key_mark(value->key, value->key_len);
        if ((frame->seen & mark) && is_duplicate(frame, value->key, value->key_len))
                return false;
        frame->seen |= mark;
        link_value(frame, value);
        if (object->len > JSON_INDEX_ABOVE)
                json_index_build(ps->doc->arena, object, value);
        return true;
}

static inline char next_token(struct parser *ps)
{
        while (is_space(*ps->p))
                ps->p++;
        return *ps->p;
}

/* Key and colon; ps->p ends at the value. */
static inline int parse_key(struct parser *ps, struct frame *frame, struct json_value *value)
{
        char *at = ps->p;
        int r;

        if (*at != '"')
                return refuse_syntax(ps, at, *at == '}' ? "a comma before \"}\"" : "a key in quotes is expected");
        ps->p++;
        r = parse_string(ps, &value->key, &value->key_len);
        if (r)
                return r;
        if (!link_member(ps, frame, value))
                return refuse(ps, JSON_E_SYNTAX, at, "duplicate key", value->key);
        if (next_token(ps) != ':')
                return refuse_syntax(ps, ps->p, "\":\" is expected after a key");
        ps->p++;
        next_token(ps);
        return 0;
}

/* The separator before the next element, or the end of the container. */
enum step { STEP_ELEMENT, STEP_END, STEP_REFUSED };

static inline enum step next_step(struct parser *ps, const struct frame *frame, char close)
{
        char c = next_token(ps);

        if (frame->container->len) {
                if (c == ',') {
                        ps->p++;
                        next_token(ps);
                        return STEP_ELEMENT;
                }
                return c == close ? STEP_END : STEP_REFUSED;
        }
        return c == close ? STEP_END : STEP_ELEMENT;
}

/* A number is ended by a NUL in the place of what follows it, so that is read first; ps->p stays there. */
static inline enum step next_step_after(struct parser *ps, const struct frame *frame, const struct json_value *value, char close)
{
        char *end = ps->p;
        enum step step = next_step(ps, frame, close);

        if (value->type == JSON_NUMBER && step != STEP_REFUSED)
                *end = 0;
        return step;
}

/* Go through the innermost open container until it ends or another one opens in it. */
static int parse_content(struct parser *ps)
{
        struct frame *frame = &ps->stack[ps->depth - 1];
        bool in_object = frame->container->type == JSON_OBJECT;
        char close = in_object ? '}' : ']';
        enum step step = next_step(ps, frame, close);
        int r;

        while (step == STEP_ELEMENT) {
                struct json_value *value = take_value(ps);

                if (!value)
                        return refuse(ps, JSON_E_LIMIT, ps->p, "too many values", NULL);
                if (in_object) {
                        r = parse_key(ps, frame, value);
                        if (r)
                                return r;
                } else {
                        value->key = NULL;
                        value->key_len = 0;
                        link_value(frame, value);
                }
                r = parse_value(ps, value);
                if (r || value->type >= JSON_ARRAY)
                        return r;
                step = next_step_after(ps, frame, value, close);
        }
        if (step == STEP_REFUSED)
                return refuse_syntax(ps, ps->p, in_object ? "\",\" or \"}\" is expected" : "\",\" or \"]\" is expected");
        close_container(ps, frame);
        return 0;
}

static int parse_document(struct parser *ps)
{
        struct json_value *root = take_value(ps);
        char *end;
        int r;

        if (!root)
                return refuse(ps, JSON_E_LIMIT, ps->p, "too many values", NULL);
        root->linked = false;
        root->key = NULL;
        root->key_len = 0;
        if (next_token(ps) == 0 && ps->p >= ps->end)
                return refuse(ps, JSON_E_SYNTAX, ps->p, "the text is empty", NULL);
        r = parse_value(ps, root);
        while (r == 0 && ps->depth > 0)
                r = parse_content(ps);
        if (r)
                return r;
        end = ps->p;
        next_token(ps);
        if (ps->p < ps->end)
                return refuse_syntax(ps, ps->p, "something follows the value");
        if (root->type == JSON_NUMBER)
                *end = 0;
        ps->doc->root = root;
        return 0;
}

struct bounds {
        size_t bytes;
        size_t nodes;
        unsigned depth;
};

static int parse(const char *text, size_t len, const struct bounds *bounds, struct json_doc **ret_doc,
                 struct json_fault *reterr_fault)
{
        g_autoptr(json_doc) doc = NULL;
        struct parser ps;
        int r;

        assert(text || !len);
        assert(ret_doc);
        if (len > MIN(bounds->bytes, UINT32_MAX / 2)) {
                json_fault_set(reterr_fault, 0, 1, "longer than %zu bytes", MIN(bounds->bytes, UINT32_MAX / 2));
                return JSON_E_LIMIT;
        }
        /* compact Kubernetes objects have a value every 16 to 30 bytes */
        ps.chunk = CLAMP(len / 16, 8, 4096);
        doc = json_doc_new_sized(sizeof(*doc) + len + TAIL_ZEROES + ps.chunk * sizeof(struct json_value) + 64);
        ps.start = arena_text(doc->arena, len + TAIL_ZEROES);
        if (len)
                memcpy(ps.start, text, len);
        memset(ps.start + len, 0, TAIL_ZEROES + 1);
        ps.text = text;
        ps.end = ps.start + len;
        ps.p = ps.start;
        ps.doc = doc;
        ps.spare = ps.spare_end = NULL;
        ps.nodes_left = bounds->nodes;
        ps.depth = 0;
        ps.max_depth = bounds->depth;
        ps.fault = reterr_fault;
        r = parse_document(&ps);
        if (r)
                return r;
        *ret_doc = g_steal_pointer(&doc);
        return 0;
}

int json_parse(const char *text, size_t len, struct json_doc **ret_doc, struct json_fault *reterr_fault)
{
        static const struct bounds bounds = {.bytes = LIMIT_JSON_BYTES, .nodes = LIMIT_JSON_NODES, .depth = LIMIT_JSON_DEPTH};

        return parse(text, len, &bounds, ret_doc, reterr_fault);
}

int json_parse_within(const char *text, size_t len, size_t max_bytes, size_t max_nodes, struct json_doc **ret_doc,
                      struct json_fault *reterr_fault)
{
        struct bounds bounds = {.bytes = max_bytes, .nodes = max_nodes, .depth = LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP};

        return parse(text, len, &bounds, ret_doc, reterr_fault);
}

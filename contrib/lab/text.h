/*
 * text.h: words in and out. Errors are sentences for a person, made where the fact is known;
 * what is written on a command line or in a list is read here.
 */
#ifndef LAB_TEXT_H
#define LAB_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct lab_err {
	char text[384];
};

/* Fills err with a sentence; returns -1, so that "return err_set(...)" reads well. */
int err_set(struct lab_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Reads a whole number between min and max. 0 and *number, or -1 and err. */
int text_number(const char *text, uint64_t min, uint64_t max, uint64_t *number,
		struct lab_err *err);

/* Reads a length of time: 20s, 500ms, 5m, 1h; without a unit, seconds. 0 and *seconds, or -1. */
int text_duration(const char *text, double *seconds, struct lab_err *err);

/* Reads an amount of bytes: 512, 64k, 16m, 1g (powers of 1024). 0 and *bytes, or -1 and err. */
int text_size(const char *text, uint64_t *bytes, struct lab_err *err);

/* The value of the nth field of that name, from 0 on, in a head of lines "Name: value\r\n", as HTTP and SIP have
 * them, without the blanks before it; NULL: there is none. */
const char *text_field(const char *head, size_t head_len, const char *name, int nth, size_t *len);

/* A field's value as a length: digits alone, below 10^11; -1: it is none. */
long text_length(const char *value, size_t len);

/* Cuts line into at most max words in place; the rest of the line after '#' is a comment.
 * Returns the number of words found, which may be more than max (then only max are stored). */
int text_words(char *line, char **words, int max);

/* Calls each() with the words of every line of a list that is not empty; "-" is standard input.
 * Stops at the first line that each() refuses (-1), and puts file and line before its words. */
int text_list(const char *path, int max,
	      int (*each)(void *ctx, int count, char **words, struct lab_err *err), void *ctx,
	      struct lab_err *err);

/* Writes "ready ...\n" to the descriptor that a test waits on, and closes it. -1 is no descriptor.
 */
void text_ready(int fd, const char *words);

#endif

/* Words for the operator when set-up fails: what, where (file:line), what would be right. Made
 * where the fact is known; callers pass it on and never rewrite it. */
#ifndef SY_API_ERR_H
#define SY_API_ERR_H

#include <stdarg.h>
#include <stdio.h>

struct sy_err {
	char text[480];
};

/* Fills err and returns -1, so that `return sy_fail(err, "...")` reads as what it is. */
__attribute__((format(printf, 2, 3))) static inline int
sy_fail(struct sy_err *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return -1;
}

#endif

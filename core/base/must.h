/* must(expr): what cannot be otherwise. Always compiled in. When it fails, the last words go to the
 * log and to the place set by must_set_last_words() (a page of the board), then the process aborts:
 * the master prints them and starts a successor. */
#ifndef BASE_MUST_H
#define BASE_MUST_H

#include <stddef.h>

#define must(expr) \
	(__builtin_expect(!!(expr), 1) ? (void)0 : must_die(#expr, __FILE__, __LINE__, __func__))

__attribute__((noreturn, cold)) void must_die(const char *expr, const char *file, int line,
					      const char *function);
/* `page` outlives the process (shared memory); at most len bytes are written, NUL included. */
void must_set_last_words(char *page, size_t len);
/* Also writes last words for SIGSEGV, SIGBUS, SIGFPE, SIGILL: signal name and address. */
void must_catch_signals(void);
/* Out of memory before traffic: dies with a message. Never returns NULL. */
void *must_alloc(size_t size);
void *must_realloc(void *old, size_t size);

#endif

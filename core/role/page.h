/* The files of core/role/page, as bytes in the program; made by the Makefile. */
#ifndef ROLE_PAGE_H
#define ROLE_PAGE_H

#include <stddef.h>

struct page_file {
	const char *name;         /* without its folder */
	const unsigned char *bytes;
	size_t len;
};

extern const struct page_file page_files[]; /* NULL name at the end */

#endif

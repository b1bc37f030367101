/* Intrusive doubly linked ring. A link that is in no list points to itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void
link_init(struct link *link)
{
	link->next = link->prev = link;
}

static inline bool
list_empty(const struct link *head)
{
	return head->next == head;
}

static inline void
list_append(struct link *head, struct link *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

/* Safe for a link that is in no list. */
static inline void
list_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link_init(link);
}

#define list_each(var, head) \
	for (struct link *var = (head)->next; var != (head); var = var->next)
/* The current element may be removed. */
#define list_each_safe(var, head) \
	for (struct link *var = (head)->next, *var##_next = var->next; var != (head); \
	     var = var##_next, var##_next = var->next)

#endif

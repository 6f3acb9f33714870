/* SPDX-License-Identifier: MIT */
/* An intrusive doubly-linked list with a sentinel; it owns nothing. A link that is in no list
   points at itself, so taking it out twice is harmless. */
#ifndef MT_LIST_H
#define MT_LIST_H

#include "base/mt_base.h"

struct mt_link {
    struct mt_link *next; /* towards the back */
    struct mt_link *prev; /* towards the front */
};

struct mt_list {
    struct mt_link head; /* the sentinel; head.next is the front */
};

static inline void
mt_link_init(struct mt_link *link)
{
    link->next = link->prev = link;
}

static inline bool
mt_link_is_linked(const struct mt_link *link)
{
    return link->next != link;
}

static inline void
mt_list_init(struct mt_list *list)
{
    mt_link_init(&list->head);
}

static inline bool
mt_list_is_empty(const struct mt_list *list)
{
    return list->head.next == &list->head;
}

static inline void
mt_list_append(struct mt_list *list, struct mt_link *link)
{
    link->prev = list->head.prev;
    link->next = &list->head;
    list->head.prev->next = link;
    list->head.prev = link;
}

static inline void
mt_list_prepend(struct mt_list *list, struct mt_link *link)
{
    link->next = list->head.next;
    link->prev = &list->head;
    list->head.next->prev = link;
    list->head.next = link;
}

static inline void
mt_list_remove(struct mt_link *link)
{
    link->next->prev = link->prev;
    link->prev->next = link->next;
    mt_link_init(link);
}

/* The front link, or NULL when the list is empty. */
static inline struct mt_link *
mt_list_front(const struct mt_list *list)
{
    return mt_list_is_empty(list) ? NULL : list->head.next;
}

/* The link after this one, or NULL at the end. */
static inline struct mt_link *
mt_list_after(const struct mt_list *list, const struct mt_link *link)
{
    return link->next == &list->head ? NULL : link->next;
}

#endif

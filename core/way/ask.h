/* Questions of the console to the worker. */
#ifndef WAY_ASK_H
#define WAY_ASK_H

#include "proc/control.h"
#include "way/way.h"

/* Answers an ASK with one ANSWER. */
void ask_answer(struct way *way, const struct control_message *message);

#endif

#include "share/reasons.h"

#include "share/board.h"

_Static_assert((int)REASONS_END <= (int)BOARD_REASONS, "the board counts each reason");

const struct reason_row reason_rows[REASONS_END] = {
#define REASON_ROW(name_, label, error_, words_) \
	[REASON_##name_] = { .name = (label), .words = (words_), .error = (error_) },
	REASONS(REASON_ROW)
#undef REASON_ROW
};

/* libmicrohttpd, which the console alone loads: mhd.run() is its MHD_run(). */
#ifndef ROLE_CONSOLE_MHD_H
#define ROLE_CONSOLE_MHD_H

#include <microhttpd.h>

#include "api/err.h"

#define MHD_CALLS(CALL) \
	CALL(add_connection) \
	CALL(add_response_header) \
	CALL(create_response_from_buffer) \
	CALL(create_response_from_callback) \
	CALL(destroy_response) \
	CALL(get_connection_info) \
	CALL(get_connection_values) \
	CALL(get_daemon_info) \
	CALL(get_timeout) \
	CALL(lookup_connection_value) \
	CALL(queue_response) \
	CALL(resume_connection) \
	CALL(run) \
	CALL(start_daemon) \
	CALL(stop_daemon) \
	CALL(suspend_connection)

#define MHD_POINTER(name) __typeof__(MHD_##name) *name;
struct mhd { MHD_CALLS(MHD_POINTER) };
#undef MHD_POINTER

extern struct mhd mhd;

/* Before its first use. -1 with err. */
int mhd_load(struct sy_err *err);

#endif

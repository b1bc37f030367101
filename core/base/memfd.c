#define _GNU_SOURCE 1
#include "base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; the kernel complains in its log without it */
#endif

static int
memfd_new(const char *name, struct sy_err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return sy_fail(err, "cannot make the shared memory \"%s\": %s", name,
			       strerror(errno));
	return fd;
}

/* Gives fd back, or closes it. */
static int
memfd_seal(const char *name, int fd, int seals, struct sy_err *err)
{
	if (fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	sy_fail(err, "cannot seal the shared memory \"%s\": %s", name, strerror(errno));
	close(fd);
	return -1;
}

int
memfd_shared(const char *name, size_t size, struct sy_err *err)
{
	int fd;

	if (size == 0 || (off_t)size < 0)
		return sy_fail(err, "the shared memory \"%s\" cannot have a size of %zu bytes",
			       name, size);
	fd = memfd_new(name, err);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) != 0) {
		sy_fail(err, "cannot give the shared memory \"%s\" its size of %zu bytes: %s", name,
			size, strerror(errno));
		close(fd);
		return -1;
	}
	return memfd_seal(name, fd, 0, err);
}

int
memfd_sealed(const char *name, const void *bytes, size_t len, struct sy_err *err)
{
	const char *at = bytes;
	size_t left = len;
	int fd = memfd_new(name, err);

	if (fd < 0)
		return -1;
	while (left > 0) {
		ssize_t n = write(fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			sy_fail(err, "cannot fill the shared memory \"%s\" (%zu bytes): %s", name,
				len, n < 0 ? strerror(errno) : "nothing could be written");
			close(fd);
			return -1;
		}
		at += n;
		left -= (size_t)n;
	}
	return memfd_seal(name, fd, F_SEAL_WRITE, err);
}

void *
memfd_map(int fd, int writable, size_t *len, struct sy_err *err)
{
	static char empty;
	struct stat st;
	int seals;
	void *at;

	*len = 0;
	if (fstat(fd, &st) != 0) {
		sy_fail(err, "cannot map shared memory (descriptor %d): %s", fd, strerror(errno));
		return NULL;
	}
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		/* Who can shrink it can kill everybody who maps it. */
		sy_fail(err, "cannot map shared memory (descriptor %d): it is not a sealed memfd",
			fd);
		return NULL;
	}
	if (writable && seals & F_SEAL_WRITE) {
		sy_fail(err, "cannot map shared memory (descriptor %d) for writing: it is sealed",
			fd);
		return NULL;
	}
	if (st.st_size == 0)
		return &empty;
	/* Before Linux 6.7 a write-sealed memfd refuses MAP_SHARED even for reading. */
	at = mmap(NULL, (size_t)st.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
	          seals & F_SEAL_WRITE ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		sy_fail(err, "cannot map %lld bytes of shared memory (descriptor %d): %s",
		        (long long)st.st_size, fd, strerror(errno));
		return NULL;
	}
	*len = (size_t)st.st_size;
	return at;
}

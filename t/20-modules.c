/* Modules as files: what is refused and in which words, what a module exports, and that nobody is
 * hurt when its file changes. Broken modules are made from good ones by patching their bytes. */
#define _GNU_SOURCE 1
#include "module.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/persistence.h"
#include "api/scheduler.h"
#include "base/poison.h"

extern char **environ;

static char folder[] = "/tmp/steelyard-modules-XXXXXX";

/* ---- files ---- */

struct bytes {
	uint8_t *at;
	size_t len;
};

static struct bytes
read_file(const char *path)
{
	struct bytes bytes = { .at = malloc(16 << 20) };
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes.at, 16 << 20);

	if (n < 0)
		bail_out("%s: %s", path, strerror(errno));
	bytes.len = (size_t)n;
	close(fd);
	return bytes;
}

static const char *
path_of(enum sy_kind kind, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s/%s.so", folder, kind_names[kind], name);
	return path;
}

static void
write_file(enum sy_kind kind, const char *name, struct bytes bytes)
{
	const char *path = path_of(kind, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, bytes.at, bytes.len) != (ssize_t)bytes.len || fchmod(fd, 0644) != 0)
		bail_out("%s: %s", path, strerror(errno));
	close(fd);
}

static struct bytes
built(enum sy_kind kind, const char *name)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s/%s.so", module_dir(), kind_names[kind], name);
	return read_file(path);
}

static void
folders(bool make)
{
	char path[4096];

	if (make && !mkdtemp(folder))
		bail_out("%s: %s", folder, strerror(errno));
	for (unsigned kind = 0; kind < SY_KINDS; kind++) {
		snprintf(path, sizeof(path), "%s/%s", folder, kind_names[kind]);
		if (make)
			mkdir(path, 0755);
		else
			rmdir(path);
	}
	if (!make)
		rmdir(folder);
}

/* ---- ELF ---- */

static const Elf64_Shdr *
section(struct bytes elf, uint32_t type, const char *name)
{
	const Elf64_Ehdr *head = (const void *)elf.at;
	const Elf64_Shdr *sections = (const void *)(elf.at + head->e_shoff);
	const char *names = (const char *)elf.at + sections[head->e_shstrndx].sh_offset;

	for (unsigned i = 0; i < head->e_shnum; i++)
		if (sections[i].sh_type == type &&
	            (!name || !strcmp(names + sections[i].sh_name, name)))
			return &sections[i];
	return NULL;
}

/* Names of what it exports, each followed by a blank; where sy_module lies in the file. */
static uint8_t *
exported(struct bytes elf, char *names, size_t len)
{
	const Elf64_Ehdr *head = (const void *)elf.at;
	const Elf64_Phdr *segments = (const void *)(elf.at + head->e_phoff);
	const Elf64_Shdr *table = section(elf, SHT_DYNSYM, NULL);
	const Elf64_Shdr *sections = (const void *)(elf.at + head->e_shoff);
	const Elf64_Shdr *text = sections + table->sh_link;
	const Elf64_Sym *symbols = (const void *)(elf.at + table->sh_offset);
	uint8_t *found = NULL;

	*names = '\0';
	for (size_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
		const Elf64_Sym *symbol = &symbols[i];
		const char *name = (const char *)elf.at + text->sh_offset + symbol->st_name;

		if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_BIND(symbol->st_info) == STB_LOCAL ||
		    ELF64_ST_BIND(symbol->st_info) == STB_WEAK ||
		    strncmp(name, "__odr_asan", 10) == 0) /* AddressSanitizer's own */
			continue;
		snprintf(names + strlen(names), len - strlen(names), "%s ", name);
		for (unsigned s = 0; s < head->e_phnum && !strcmp(name, "sy_module"); s++)
			if (segments[s].p_type == PT_LOAD &&
		            symbol->st_value >= segments[s].p_vaddr &&
			    symbol->st_value < segments[s].p_vaddr + segments[s].p_filesz)
				found = elf.at + symbol->st_value - segments[s].p_vaddr +
				        segments[s].p_offset;
	}
	return found;
}

static void
replace(struct bytes bytes, const char *what, const char *with)
{
	size_t len = strlen(what);
	uint8_t *at = bytes.at, *end = bytes.at + bytes.len;

	while ((at = memmem(at, (size_t)(end - at), what, len)))
		memcpy(at, with, len);
}

static void
test_symbols(void)
{
	for (unsigned kind = 0; kind < SY_KINDS; kind++) {
		const char **names = modules_names(module_dir(), kind);

		if (kind >= SY_SCHEDULER)
			ok(*names, "there are %s modules", kind_names[kind]);
		for (unsigned i = 0; names[i]; i++) {
			struct bytes elf = built(kind, names[i]);
			const Elf64_Shdr *data = section(elf, SHT_PROGBITS, ".data");
			const Elf64_Shdr *bss = section(elf, SHT_NOBITS, ".bss");
			char symbols[2000];

			exported(elf, symbols, sizeof(symbols));
			is_str(symbols, "sy_module ", "%s %s exports one symbol", kind_names[kind],
			       names[i]);
#ifndef POISON_ON
			/* 8 bytes in each are the C runtime's own. */
			ok((!data || data->sh_size <= 8) && (!bss || bss->sh_size <= 8),
			   "and has nothing that could be written to");
#else
			(void)data, (void)bss;
#endif
			ok(module_of(kind, names[i]), "and is opened");
			free(elf.at);
		}
		free(names);
	}
}

/* ---- refusals ---- */

/* Copies and opens; the words when it was refused. */
static const char *
refusal(enum sy_kind kind, const char *name)
{
	static struct sy_err err;
	const struct sy_module *module = NULL;
	uint64_t hash;
	int fd;

	err.text[0] = '\0';
	fd = modules_copy(folder, kind, name, &hash, &err);
	if (fd >= 0)
		module = modules_open(fd, hash, kind, name, &err);
	if (fd >= 0)
		close(fd);
	return module ? "" : err.text;
}

static void
refused(enum sy_kind kind, const char *name, const char *words, const char *what)
{
	const char *text = refusal(kind, name);

	if (has_str(text, words, "%s is refused", what))
		diag("%s", text);
	unlink(path_of(kind, name));
}

/* A good scheduler with one field of its sy_module changed. */
static void
patched(size_t offset, size_t size, uint32_t value, const char *words, const char *what)
{
	struct bytes elf = built(SY_SCHEDULER, "priority");
	char symbols[2000];
	uint8_t *module = exported(elf, symbols, sizeof(symbols));

	if (!module)
		bail_out("no sy_module in priority.so: %s", symbols);
	memcpy(module + offset, &value, size);
	write_file(SY_SCHEDULER, "priority", elf);
	refused(SY_SCHEDULER, "priority", words, what);
	free(elf.at);
}

#define FIELD(name) offsetof(struct sy_module, name), sizeof(((struct sy_module *)0)->name)

static void
test_other_builds(void)
{
	static char id[] = SY_API_ID;
	struct bytes elf = built(SY_SCHEDULER, "priority");

	write_file(SY_SCHEDULER, "priority", elf);
	is_str(refusal(SY_SCHEDULER, "priority"), "", "a good module is opened");
	patched(FIELD(abi_major), SY_ABI_MAJOR + 1, "version 2.0 of the module interface",
	        "another major version");
	patched(FIELD(abi_minor), SY_ABI_MINOR + 1, "version 1.1 of the module interface",
	        "a newer minor version");
	patched(FIELD(size), sizeof(struct sy_module) + 8,
	        "build it again with the installed headers",
	        "another struct");
	patched(FIELD(kind), SY_MONITOR, "is a monitor, and not a scheduler",
	        "another kind inside");
	patched(FIELD(kind), 99, "no known kind", "no kind at all");
	id[0] = id[0] == '0' ? '1' : '0';
	replace(elf, SY_API_ID, id);
	write_file(SY_SCHEDULER, "priority", elf);
	refused(SY_SCHEDULER, "priority", "with other headers", "a build with other headers");
	free(elf.at);

	elf = built(SY_SCHEDULER, "source-hash");
	write_file(SY_MONITOR, "source-hash", elf);
	refused(SY_MONITOR, "source-hash", "is a scheduler, and not a monitor",
	        "a file in the wrong folder");
	write_file(SY_SCHEDULER, "other", elf);
	refused(SY_SCHEDULER, "other", "calls itself source-hash", "a file with the wrong name");
	replace(elf, "sy_module", "sy_modula");
	write_file(SY_SCHEDULER, "source-hash", elf);
	refused(SY_SCHEDULER, "source-hash", "cannot be opened as a module: undefined symbol",
	        "a library that is no module");
	free(elf.at);
}

static void
test_no_modules(void)
{
	static const struct bytes text = { (uint8_t *)(uintptr_t)"hello, world\n", 13 };
	static const struct bytes empty = { NULL, 0 };
	const char *path = path_of(SY_SCHEDULER, "x");
	struct bytes elf = built(SY_SCHEDULER, "priority");

	refused(SY_SCHEDULER, "x", "there is no module", "what is not there");
	write_file(SY_SCHEDULER, "x", text);
	refused(SY_SCHEDULER, "x", "cannot be opened as a module", "a text file");
	write_file(SY_SCHEDULER, "x", empty);
	refused(SY_SCHEDULER, "x", "", "an empty file");
	mkfifo(path, 0644);
	refused(SY_SCHEDULER, "x", "not a regular file", "a FIFO");
	mkdir(path, 0755);
	refused(SY_SCHEDULER, "x", "not a regular file", "a folder");
	rmdir(path);
	ok(symlink("/nowhere", path) == 0, "a link");
	refused(SY_SCHEDULER, "x", "there is no module", "a link to nowhere");
	write_file(SY_SCHEDULER, "x", elf);
	chmod(path, 0646);
	refused(SY_SCHEDULER, "x", "may write to it", "a file that everybody may write to");
	write_file(SY_SCHEDULER, "x", elf);
	if (geteuid() == 0 && chown(path, 65534, 0) == 0)
		refused(SY_SCHEDULER, "x", "does not belong to root", "a file that is not root's");
	else
		skip("only root can give files away");
	write_file(SY_SCHEDULER, "x", elf);
	if (geteuid() == 0 && chown(path, 0, 65534) == 0 && chmod(path, 0664) == 0)
		refused(SY_SCHEDULER, "x", "group may write", "a file that a group may write to");
	else
		skip("only root can give files away");
	refused(SY_SCHEDULER, "../scheduler/x", "lower-case letters", "a name with a path");
	refused(SY_SCHEDULER, "", "lower-case letters", "no name");
	free(elf.at);
}

/* Where what is loaded ends; behind it is what only debuggers read. */
static size_t
loaded_len(struct bytes elf)
{
	const Elf64_Ehdr *head = (const void *)elf.at;
	const Elf64_Phdr *segments = (const void *)(elf.at + head->e_phoff);
	size_t end = 0;

	for (unsigned i = 0; i < head->e_phnum; i++)
		if (segments[i].p_offset + segments[i].p_filesz > end)
			end = segments[i].p_offset + segments[i].p_filesz;
	return end;
}

/* A file that was not copied to its end: opened in a process of its own, because the C library dies
 * of some of them. */
static void
test_cut_off(void)
{
	struct bytes elf = built(SY_SCHEDULER, "priority");
	const size_t end = loaded_len(elf), lengths[] = { 10, 100, end / 2, end - 1, end };

	for (unsigned i = 0; i < 5; i++) {
		char self[] = "/proc/self/exe", open_it[] = "open";
		char *args[] = { self, open_it, folder, NULL };
		struct bytes part = { elf.at, lengths[i] };
		int status = 0;
		pid_t pid;

		write_file(SY_SCHEDULER, "priority", part);
		if (posix_spawn(&pid, self, NULL, NULL, args, environ) != 0)
			bail_out("cannot start myself: %s", strerror(errno));
		waitpid(pid, &status, 0);
		ok(WIFEXITED(status) && WEXITSTATUS(status) == (i < 4 ? 3 : 0),
		   "a module cut off after %zu bytes is %s", part.len,
		   i < 4 ? "refused" : "whole enough");
		if (i == 2)
			has_str(refusal(SY_SCHEDULER, "priority"), "was cut off after", "in words");
	}
	unlink(path_of(SY_SCHEDULER, "priority"));
	free(elf.at);
}

/* ---- life ---- */

static void
test_replaced(void)
{
	struct bytes elf = built(SY_PERSISTENCE, "source"), zero = { calloc(1, elf.len), elf.len };
	struct sy_err err = { "" };
	const struct sy_persistence *ops;
	const struct sy_module *module, *again;
	uint64_t hash, hash2;
	int fd, fd2;

	write_file(SY_PERSISTENCE, "source", elf);
	fd = modules_copy(folder, SY_PERSISTENCE, "source", &hash, &err);
	write_file(SY_PERSISTENCE, "source", zero); /* in place: the worst way to upgrade */
	module = modules_open(fd, hash, SY_PERSISTENCE, "source", &err);
	ok(module, "a module is opened from its copy after its file was overwritten %s", err.text);
	ops = module ? module->ops : NULL;
	ok(ops && ops->key && ops->life, "and works");
	write_file(SY_PERSISTENCE, "source", elf);
	fd2 = modules_copy(folder, SY_PERSISTENCE, "source", &hash2, &err);
	again = modules_open(fd2, hash2, SY_PERSISTENCE, "source", &err);
	ok(hash == hash2 && again == module, "the same bytes are opened once");
	elf.at[elf.len - 1] ^= 1;
	write_file(SY_PERSISTENCE, "source", elf);
	close(fd2);
	fd2 = modules_copy(folder, SY_PERSISTENCE, "source", &hash2, &err);
	again = modules_open(fd2, hash2, SY_PERSISTENCE, "source", &err);
	ok(hash != hash2 && again && again != module, "other bytes beside them");
	close(fd);
	close(fd2);
	unlink(path_of(SY_PERSISTENCE, "source"));
	free(elf.at);
	free(zero.at);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strlen(argv[2]) < sizeof(folder)) {
		strcpy(folder, argv[2]);
		return *refusal(SY_SCHEDULER, "priority") ? 3 : 0;
	}
	folders(true);
	test_symbols();
	test_other_builds();
	test_no_modules();
	test_cut_off();
	test_replaced();
	folders(false);
	return done_testing();
}

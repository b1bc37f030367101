#!/usr/bin/env perl
# A protocol whose rules name pools: blocks that are repeated, with files, secrets and pools in them;
# the servers of those pools are checked, shown and counted like the service's own; what check() took
# is given back by every process that bound it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Test::More;
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/$_" for qw(mods mods/protocol mods/scheduler mods/monitor mods/persistence);
my ($src, $build) = (Steelyard::src_dir(), Steelyard::build_dir());
my $cc = $ENV{CC} || 'cc';
my $head = $> == 0 ? 'user nobody; ' : '';

sub put {
	my ($file, $text) = @_;
	open my $out, '>', "$dir/$file" or die "$file: $!";
	print $out $text;
	close $out or die $!;
}

# The first line of a client names a rule; each check() and release() is told to a file.
put('rules.c', <<'C');
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "api/protocol.h"
struct rule { const char *word; struct sy_pool pool; struct sy_file note; struct sy_secret key; };
struct conf { struct sy_blocks rules; const char *told; void *taken; };
static const struct sy_row rule_rows[] = {
	SY_ROW(struct rule, word, "word", .flags = SY_REQUIRED | SY_ARGUMENT, .doc = "The word."),
	SY_ROW(struct rule, pool, "pool", .flags = SY_ARGUMENT, .doc = "The pool."),
	SY_ROW(struct rule, note, "note", .doc = "A file."),
	SY_ROW(struct rule, key, "key", .doc = "A secret."),
	SY_ROW_END
};
static const struct sy_row rows[] = {
	SY_ROWS_IN(struct conf, rules, "rule", rule_rows, struct rule, .doc = "Where a word leads to."),
	SY_ROW(struct conf, told, "told", .doc = "Where check and release are told."),
	SY_ROW_END
};
static void
tell(const struct conf *conf, const char *what)
{
	char line[64];
	int fd = conf->told ? open(conf->told, O_WRONLY | O_APPEND) : -1;
	int n = snprintf(line, sizeof(line), "%s %d\n", what, (int)getpid());

	if (fd >= 0 && write(fd, line, (size_t)n) == n)
		close(fd);
}
static int
check(void *settings, struct sy_err *err)
{
	struct conf *conf = settings;
	const struct rule *rule = conf->rules.at;

	for (uint32_t i = 0; i < conf->rules.n; i++)
		if (rule[i].note.path && (rule[i].note.content.len != 5 || memcmp(rule[i].note.content.at, "NOTE\n", 5)))
			return sy_fail(err, "the note of %s did not come along", rule[i].word);
	tell(conf, "check");
	conf->taken = malloc(16);
	return 0;
}
static void
release(void *settings)
{
	struct conf *conf = settings;

	free(conf->taken);
	tell(conf, "release");
}
static struct sy_verdict
data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	const struct conf *conf = session->conf;
	const struct rule *rule = conf->rules.at;

	(void)side, (void)exchange, (void)eof;
	if (session->server_name)
		return (struct sy_verdict){ .what = SY_TUNNEL };
	if (!memchr(in.at, '\n', in.len))
		return (struct sy_verdict){ .what = SY_NEED };
	for (uint32_t i = 0; i < conf->rules.n; i++)
		if (in.len > strlen(rule[i].word) && memcmp(in.at, rule[i].word, strlen(rule[i].word)) == 0)
			session->facts.pool = rule[i].pool.index;
	session->facts.head = in;
	return (struct sy_verdict){ .what = SY_ROUTE };
}
static const struct sy_protocol ops = { .size = sizeof(ops), .flags = SY_STREAMS | SY_FIRST_ONLY,
	.load_unit = "connections", .window = 4096, .data = data };
SY_MODULE(SY_PROTOCOL, "rules", .version = "1", .summary = "Rules.", .conf_size = sizeof(struct conf),
	  .rows = rows, .check = check, .release = release, .ops = &ops);
C
# A scheduler that names a pool is refused.
put('greedy.c', <<'C');
#include "api/scheduler.h"
struct inner { struct sy_pool pool; };
struct conf { struct sy_blocks inner; };
static const struct sy_row inner_rows[] = { SY_ROW(struct inner, pool, "pool", .doc = "P."), SY_ROW_END };
static const struct sy_row rows[] = { SY_ROWS_IN(struct conf, inner, "inner", inner_rows, struct inner, .doc = "I."), SY_ROW_END };
static int pick(const void *conf, const struct sy_set *set, const void *table, const struct sy_draw *draw)
{ (void)conf, (void)table, (void)draw; return set->n ? 0 : -1; }
static const struct sy_scheduler ops = { .size = sizeof(ops), .pick = pick };
SY_MODULE(SY_SCHEDULER, "greedy", .version = "1", .summary = "G.", .conf_size = sizeof(struct conf), .rows = rows, .ops = &ops);
C
for (['protocol', 'rules'], ['scheduler', 'greedy']) {
	my ($kind, $name) = @$_;
	system("$cc -shared -fPIC -fvisibility=hidden -Wall -Wextra -I$src/core -I$build/core "
		. "-o $dir/mods/$kind/$name.so $dir/$name.c") == 0 or BAIL_OUT("$name does not build");
}
for my $kind (qw(scheduler monitor persistence)) {
	symlink $_, "$dir/mods/$kind/" . s{.*/}{}r for glob "$build/t/modules/$kind/*.so";
}

sub load {
	my ($text, @args) = @_;
	put('conf', $head . $text);
	my $out = qx($build/steelyardd -c $dir/conf -m $dir/mods @args 2>&1);
	return ($?, $out);
}

put('note', "NOTE\n");
put('key', "HUSH\n");
chmod 0600, "$dir/key";
put('told', '');
chmod 0666, "$dir/told";

my $pools = 'pool p { server a 127.0.0.1:1; server a2 127.0.0.1:5; } pool q { server b 127.0.0.1:2; } '
	. 'pool r { server c 127.0.0.1:3; server a 127.0.0.1:4; } pool s { server d 127.0.0.1:9; }';
my ($status, $out) = load("$pools virtual-service v { listen 127.0.0.1:0; pool p; monitor off; "
	. "protocol rules { rule one q; rule two { pool r; note note; key key; } rule three p; rule four; } }\n"
	. 'virtual-service w { listen 127.0.0.1:0; pool s; protocol rules; monitor off; }', '-T');
is($status, 0, 'rules load') or diag $out;
like($out, qr/rule \{.*\n\t+word one;.*\n\t+pool q;.*\n\t+\}/, '-T: a rule on one line, written out');
like($out, qr/rule \{.*\n\t+word two;.*\n\t+pool r;.*\n\t+note note;.*\n\t+key key;.*\n\t+\}/, '-T: one in a block');
unlike($out, qr/HUSH|warning.*pool [qr]/, 'no secret is shown, and no pool is unused');

my $rules = sub { "$pools\nvirtual-service v { listen 127.0.0.1:0; pool p; sorry-pool s; monitor off;\nprotocol rules {\n$_[0]\n} }" };
my @wrong = (
	["rule one\nqq;", qr/:4: there is no pool qq; did you mean /],
	["rule one q extra;", qr/:4: rule: unexpected extra; what is written there is rule WORD \[POOL\]/],
	["rule;", qr/:4: rule needs word: a word or a quoted text \(required\); what is written there is rule WORD \[POOL\]/],
	["rule one {\npool s; }", qr/:5: pool s is the sorry pool of virtual-service v/],
	["rule one { note nowhere; }", qr/:4: note: cannot read .*nowhere: No such file/],
	["rule one { notes note; }", qr/:4: unknown directive notes in rule; did you mean note\?/],
	["rule one q {\npool r; }", qr/:5: pool is given twice; the first time at .*:4/],
);
for (@wrong) {
	my ($text, $want) = @$_;
	($status, $out) = load($rules->($text), '-t');
	like($out, $want, $text =~ s/\n/ /gr);
	isnt($status, 0, 'refused');
}
($status, $out) = load("$pools virtual-service v { listen 127.0.0.1:0; pool p; scheduler greedy; monitor off; }", '-t');
like($out, qr/scheduler greedy: the module is refused: it names pools, and only a protocol may/, 'others name no pools');

# ---- at work ----

my %server = map { $_ => Steelyard->server($_) } qw(a b c);
my $text = sub { my $told = shift; sprintf <<'CONF', (map { $_->port } @server{qw(a b c)}), $told };
pool p { server a 127.0.0.1:%d; }
pool q { server b 127.0.0.1:%d; }
pool r { server c 127.0.0.1:%d; server down 127.0.0.1:1; }
virtual-service v {
	listen 127.0.0.1:0;
	pool p;
	protocol rules { rule one q; rule two r; rule three p; told %s; }
	persistence source;
	monitor tcp { interval 200ms; }
}
CONF
my $s = Steelyard->start($text->("$dir/told"), modules => "$dir/mods", workers => 1);
$s->wait_up('v', $_) for qw(a b c);
$s->wait_down('v', 'down');

sub talk {
	my ($word) = @_;
	my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->port('v')) or return "no: $!";
	print $client "$word\n";
	my $line = <$client>;
	return defined $line ? $line : 'nothing';
}

for my $turn (1, 2) {
	like(talk('one'), qr/^b\b/, "turn $turn: a rule leads to its pool");
	like(talk('two'), qr/^c\b/, "turn $turn: another rule, and another pool, whose server is known to be up");
	like(talk('three'), qr/^a\b/, "turn $turn: a rule may name the service's own pool");
	like(talk('else'), qr/^a\b/, "turn $turn: without a rule it is that, too");
}
my $entries = $s->api('GET', '/v1/persistence?service=v')->{entries};
is_deeply([sort map { $_->{server} } @$entries], [qw(a b c)], 'one client has an entry in each pool');

my $service = $s->api('GET', '/v1/services/v');
is_deeply([map { "$_->{pool}/$_->{name}" } @{$service->{servers}}], [qw(p/a q/b r/c r/down)], 'servers of all pools are listed');
ok(!(grep { $_->{sorry} } @{$service->{servers}}), 'none of them as a sorry server');
my %total = map { $_->{name} => $_->{total} } @{$service->{servers}};
is_deeply(\%total, { a => 4, b => 2, c => 2, down => 0 }, 'each counts for itself');
is($service->{state}, 'up', 'the state of the service is that of its own pool');
my $explained = $s->api('GET', '/v1/explain?service=v&client=127.0.0.1&pool=r');
is($explained->{server}, 'c', 'explain: as if a rule had named the pool');
is_deeply([map { "$_->{pool}/$_->{name}" } @{$explained->{servers}}], [qw(r/c r/down)], 'its servers');
is($s->api('GET', '/v1/explain?service=v&client=127.0.0.1')->{server}, 'a', 'explain: without a rule');
like(scalar $s->ctl('explain', 'v', '--client', '127.0.0.1', '--pool', 'r'), qr/goes to c of r.*pool: r, as a rule of protocol rules may choose/s, 'steelyardctl explain --pool');
my ($none, $code) = $s->api('GET', '/v1/explain?service=v&client=127.0.0.1&pool=x');
is("$code $none->{error}", '404 virtual-service v has no pool x beside its own', 'explain: a pool that is not there');
is($s->api('DELETE', '/v1/persistence?service=v')->{cleared}, 3, 'cleared in all pools');
$s->ctl('drain', 'c', '--service', 'v');
like(talk('two'), qr/^nothing/, 'no other server is up in that pool');

# A reload: the old generation is given back everywhere, the new one is in use.
my @told = sub { open my $in, '<', "$dir/told" or die $!; my @l = <$in>; @l }->();
my %by;
for (@told) { my ($what, $pid) = split; $by{$pid}{$what}++; }
my $child = $s->pid_of('worker');
is($by{$child}{check}, 1, 'the worker has bound the settings');
ok(!$by{$child}{release}, 'and holds them');
ok((grep { ($_->{release} // 0) == $_->{check} } values %by), 'the loader has given them back');
$s->reload($text->("$dir/told") . "\n# another\npool t { server t 127.0.0.1:7; }\n");
ok(Steelyard::wait_for('the old generation to be given back', sub {
	open my $in, '<', "$dir/told" or die $!;
	%by = ();
	for (<$in>) { my ($what, $pid) = split; $by{$pid}{$what}++; }
	return ($by{$child}{release} // 0) == 1 && ($by{$s->pid_of('checker')}{release} // 0) == 1 &&
		($by{$s->pid_of('console')}{release} // 0) == 1;
}), 'all have given back what the old generation took');
is($by{$child}{check}, 2, 'and have the new one');
like(talk('one'), qr/^b\b/, 'rules go on');
$s->stop;
done_testing();

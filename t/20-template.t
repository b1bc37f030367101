#!/usr/bin/env perl
# Modules from outside the tree: contrib/module-template is built against an installation, installed
# beside Steelyard's own modules, and carries connections.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Steelyard;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL DESTDIR)};
my $src = Steelyard::src_dir();
my $build = Steelyard::build_dir();
my $dir = tempdir('steelyard-template-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $root = "$dir/root";

# Returns the exit status; shows what was said when it is not what was wanted.
sub run {
	my ($command, $want) = @_;
	my $out = `($command) 2>&1`;
	my $status = $? >> 8;
	diag("$command:\n$out") if defined $want && $status != $want;
	return wantarray ? ($status, $out) : $status;
}

is(run("make -C $build install DESTDIR=$root", 0), 0, 'make install DESTDIR=');
my ($pc) = glob "$root/*/*/lib*/pkgconfig/steelyard.pc $root/*/lib*/pkgconfig/steelyard.pc "
	. "$root/*/lib/*/pkgconfig/steelyard.pc";
$pc = `find $root -name steelyard.pc` unless $pc && -e $pc;
chomp $pc;
ok($pc, 'a pkg-config file is installed') or BAIL_OUT('no steelyard.pc');
(my $pc_dir = $pc) =~ s{/[^/]+$}{};
local $ENV{PKG_CONFIG_PATH} = $pc_dir;
local $ENV{PKG_CONFIG_SYSROOT_DIR} = $root;
chomp(my $moduledir = `pkg-config --variable=moduledir steelyard`);
$moduledir =~ s/^\Q$root\E//; # pkgconf puts the root before variables, too
ok(-e "$root$moduledir/scheduler/round-robin.so", "modules are in $moduledir");
like(`pkg-config --modversion steelyard`, qr/^\d+\.\d+/, 'it has a version');

run("cp -r $src/contrib/module-template $dir/mine && chmod -R u+w $dir/mine", 0);
is(run("make -C $dir/mine CFLAGS='-O2 -g -Werror'", 0), 0, 'the template builds with the installed headers');
is(run("make -C $dir/mine install DESTDIR=$root moduledir=$moduledir", 0), 0, 'and is installed');
for my $module (qw(protocol/tenant persistence/tenant scheduler/pack)) {
	my @symbols = map { (split)[-1] } grep { / [A-TV-Z] / && !/ [wv] / } `nm -D --defined-only $root$moduledir/$module.so`;
	is("@symbols", 'sy_module', "$module exports sy_module alone");
}
{
	local $ENV{PKG_CONFIG_PATH} = $dir;
	my ($status, $out) = run("make -C $dir/mine clean all");
	isnt($status, 0, 'without Steelyard it does not build');
	like($out, qr/pkg-config does not find Steelyard/, 'and says so');
}

# ---- in use ----
my ($one, $two) = map { Steelyard->server($_) } qw(one two);
my $conf = <<"CONF";
pool machines {
	server one 127.0.0.1:@{[ $one->port ]};
	server two 127.0.0.1:@{[ $two->port ]};
}
virtual-service tenants {
	listen 127.0.0.1:0;
	protocol tenant;
	scheduler pack { load 2; }
	persistence tenant;
	pool machines;
}
virtual-service stripped {
	listen 127.0.0.1:0;
	protocol tenant { strip on; deadline 300ms; }
	scheduler pack { load 1000; }
	pool machines;
}
CONF
my $sy = Steelyard->start($conf, modules => "$root$moduledir");

sub client {
	my ($service, $bytes) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port($service),
		Timeout => 20) or die "cannot connect: $@";
	$sock->autoflush(1);
	syswrite $sock, $bytes if defined $bytes;
	return $sock;
}
sub answer { # one line, or '' at the end
	my $sock = shift;
	local $SIG{ALRM} = sub { die "no answer in time\n" };
	alarm 30;
	my $line = <$sock>;
	alarm 0;
	chomp $line if defined $line;
	return $line // '';
}
sub rest { # all that comes
	my $sock = shift;
	my ($all, $line) = '';
	$all .= "$line\n" while ($line = answer($sock)) ne '';
	return $all;
}

my $c1 = client('tenants', "TENANT alpha\nhello\n");
is(answer($c1), 'one: TENANT alpha', 'a tenant comes to the first machine, with its first line');
is(answer($c1), 'one: hello', 'and what follows');
syswrite $c1, "more\n";
is(answer($c1), 'one: more', 'all that follows');
my $c2 = client('tenants');
for my $byte (split //, "TENANT beta.b\r\n") {
	syswrite $c2, $byte;
	select undef, undef, undef, 0.002;
}
is(answer($c2), "one: TENANT beta.b\r", 'byte by byte, with CR');
my $c3 = client('tenants', "TENANT gamma\n");
is(answer($c3), 'two: TENANT gamma', 'the first is full: the second machine');
close $c1;
Steelyard::wait_for('one to have room', sub { ($sy->seat('tenants', 'one')->{active} // 9) == 1 });
my $c4 = client('tenants', "TENANT gamma\nagain\n");
is(answer($c4), 'two: TENANT gamma', 'the first has room, but this tenant is known on the second');
my $c5 = client('tenants', "TENANT delta\n");
is(answer($c5), 'one: TENANT delta', 'a new one is not');
like(scalar $sy->ctl('persistence'), qr/tenant gamma/, 'steelyardctl shows who is known');

my $s1 = client('stripped', "TENANT alpha\nhello\n");
is(answer($s1), 'one: hello', 'strip: the server does not see the first line');
$s1 = client('stripped', "TENANT alpha\n");
select undef, undef, undef, 0.1;
syswrite $s1, "late\n";
is(answer($s1), 'one: late', 'nor when the rest comes later');

# ---- what is refused ----
my @bad = (
	[ "GET / HTTP/1.0\r\n\r\n", qr/does not begin with TENANT/, 'another protocol' ],
	[ "\0\1\2\3\4\5\6\7\xff\xfe", qr/does not begin with TENANT/, 'garbage' ],
	[ "TENANT \n", qr/name is empty/, 'no name' ],
	[ "TENANT a b\n", qr/other characters/, 'a blank in the name' ],
	[ 'TENANT ' . 'x' x 41 . "\n", qr/name is empty, too long|too long/, 'a name too long' ],
	[ 'TENANT ' . 'x' x 3000, qr/line is too long/, 'a line without end' ],
);
for my $case (@bad) {
	my ($bytes, $reason, $what) = @$case;
	my $sock = client('tenants', $bytes);
	like(rest($sock), qr/^ERROR the first line must be: TENANT name/, "$what: the client is told");
	ok(scalar $sy->wait_log($reason), "$what: the log says why");
}
my $slow = client('stripped', 'TENANT al');
is(rest($slow), '', 'half a line, and no more: closed');
ok(scalar $sy->wait_log(qr/time|late|deadline/i), 'with a reason');
my $gone = client('tenants', 'TENANT al');
shutdown $gone, 1;
is(rest($gone), '', 'the client ends in the middle of its line: closed');
is(answer(client('tenants', "TENANT delta\n")), 'one: TENANT delta', 'and the next one is served');
is($sy->stop, 0, 'the daemon ends well');

# ---- settings, and a module of another build ----
my ($status, $out) = run("cat > $dir/bad.conf <<'END'
pool p { server s 127.0.0.1:9; }
virtual-service v { listen 127.0.0.1:0; pool p; protocol tenant { strip maybe; } scheduler pack { load 0; } }
END
$build/steelyardd -t -c $dir/bad.conf -m $root$moduledir");
isnt($status, 0, 'wrong settings are refused');
like($out, qr/strip/, 'with the name of the one');
like($out, qr/load/, 'and of the other');
is(run("make -C $dir/mine clean all install DESTDIR=$root moduledir=$moduledir "
	. q{CPPFLAGS='-DSY_API_ID=\\"0123456789abcdef\\"'}, 0), 0, 'the template is built with other headers');
run("echo 'pool p { server s 127.0.0.1:9; } virtual-service v { listen 127.0.0.1:0; pool p; protocol tenant; }' > $dir/good.conf");
($status, $out) = run("$build/steelyardd -t -c $dir/good.conf -m $root$moduledir");
isnt($status, 0, 'that module is refused');
like($out, qr/good\.conf:1: .*built with other headers/, 'in words, where it is used');
done_testing;

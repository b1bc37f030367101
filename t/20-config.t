#!/usr/bin/env perl
# What the loader says about configurations: for each broken one the right file, the right line and
# the words that help; all errors of a file in one go; what -T prints loads again and prints the same.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(time);
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
chdir $dir or die "$dir: $!";
my $head = $> == 0 ? 'user nobody; ' : '';

sub put {
	my ($file, $text) = @_;
	my ($folder) = $file =~ m{^(.*)/};
	mkdir $folder if $folder && !-d $folder;
	open my $out, '>', $file or die "$file: $!";
	print $out $text;
	close $out or die "$file: $!";
}

# (exit status, standard output, standard error)
sub load {
	my (@args) = @_;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		open STDOUT, '>', 'out' or die;
		open STDERR, '>', 'err' or die;
		exec Steelyard::steelyardd(), '-m', Steelyard::modules(), @args or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	my $status = $?;
	my @text = map { open my $in, '<', $_ or die; local $/; scalar(<$in>) // '' } qw(out err);
	return ($status & 127 ? -1 : $status >> 8, @text);
}

# A service that is good, for those that break something else; it stands on one line.
my $pool = 'pool p { server s1 127.0.0.1; server s2 127.0.0.2; }';
my $rest = 'pool p; protocol tcp; scheduler round-robin; monitor tcp;';

my @cases;
{
	local $/;
	for my $text (grep { /\S/ } split /^=== /m, <DATA>) {
		my ($name, $body) = split /\n/, $text, 2;
		my %case = (name => $name, files => {}, said => []);
		my $file = 'steelyard.conf';
		for my $line (split /(?<=\n)/, $body) {
			if ($line =~ /^\+\+\+ (\S+)/) {
				$file = $1;
			} elsif ($line =~ /^--- good/) {
				$case{good} = 1;
			} elsif ($line =~ /^--- (\S+?)(?::(\d+))?( warning)?: (.*)\n/) {
				push @{ $case{said} }, { file => $1, line => $2, mild => $3, words => $4 };
			} elsif ($line =~ /^---/) {
				die "what is meant by $line";
			} else {
				$line =~ s/POOL/$pool/;
				$line =~ s/REST/$rest/;
				$case{files}{$file} .= $line;
			}
		}
		push @cases, \%case;
	}
}

my $broken = grep { !$_->{good} } @cases;
cmp_ok($broken, '>=', 60, "$broken broken configurations");

for my $case (@cases) {
	my %files = %{ $case->{files} };
	put($_, ($_ eq 'steelyard.conf' ? $head : '') . $files{$_}) for sort keys %files;
	my ($status, $out, $err) = load('-t', '-c', 'steelyard.conf');
	my @wrong;
	for my $said (@{ $case->{said} }) {
		my $place = defined $said->{line} ? "$said->{file}:$said->{line}" : $said->{file};
		my $start = "$place: " . ($said->{mild} ? 'warning: ' : '');
		push @wrong, "$start$said->{words}"
			unless grep { index($_, $start) == 0 && index($_, $said->{words}) >= length $start }
			split /\n/, $err;
	}
	my $errors = grep { !$_->{mild} } @{ $case->{said} };
	push @wrong, "exit status $status" if $status != ($case->{good} ? 0 : 1);
	push @wrong, "$errors errors" if !$case->{good} && $err !~ /is not good: $errors error/;
	push @wrong, 'no more words' if $case->{good} && !@{ $case->{said} } && $err =~ /\S/;
	ok(!@wrong, $case->{name}) or diag("wanted:\n", map({ "  $_\n" } @wrong), "got:\n$err$out");
	unlink keys %files;
}

# -T prints what is in force; loaded again it prints the same.
my $full = <<"CONF";
${head}workers 3;
listen-slots 16;
worker-connections 100;
log stderr level=debug format=json;
log-connections off;
shutdown-timeout 1h;
control $dir/control mode=0600;
pid-file "$dir/a b.pid";
tables { services 100; cells 10000; persistence-entries 5000; }
set \$net 10.0.0.0/8;
set \$both 127.0.0.1 127.0.0.2;
console { listen localhost:0; allow 127.0.0.0/8; }
template farm {
	parameter servers;
	parameter name default "web farm";
	parameter nets default \$net 192.168.0.0/16;
	pool farm { \$servers; slow-start 30s; }
	virtual-service farm { listen 127.0.0.1:0; pool farm port=81; allow \$nets; monitor off; }
}
deploy farm { servers { server a localhost weight=5; server b 127.0.0.2; } }
pool p port=8080 {
	for-each \$s in \$both { server s-\$s \$s max-connections=10; }
}
virtual-service a {
	listen 127.0.0.1:5000-5003 [::1]:443 *:80;
	pool p;
	sorry-pool farm;
	protocol tcp;
	scheduler least-connections;
	persistence source { timeout 20m; }
	monitor tcp { interval 1s; port 443; }
	monitor tcp interval=10s fall=2 address=127.0.0.9;
	monitor-policy any;
	snat 127.0.0.1 127.0.0.2 ::1;
	max-rate 100/s;
	accept-proxy-from 127.0.0.0/8 ::1;
	send-proxy v2;
	deny 10.1.2.3;
	optional on;
}
CONF
put('steelyard.conf', $full);
my ($status, $first, $err) = load('-T', '-c', 'steelyard.conf');
is($status, 0, '-T succeeds') or diag $err;
put('again.conf', $first);
($status, my $second, $err) = load('-T', '-c', 'again.conf');
is($status, 0, 'what it prints loads') or diag $err;
s/  # .*//mg for my ($plain, $again) = ($first, $second);
is($again, $plain, 'and prints the same');
like($first, qr/^\tserver a localhost weight=5 max-connections=0;  # steelyard.conf:\d+, localhost is (127\.0\.0\.1|::1)$/m,
	'an address that was looked up is shown');
like($first, qr/^\tslow-start 30s;  # steelyard.conf:17 \(from steelyard.conf:20\)$/m,
	'what a template made names both places');
like($first, qr/^\tallow 10\.0\.0\.0\/8 192\.168\.0\.0\/16;/m, 'a default of a parameter uses variables');
like($first, qr/^\t\ttimeout 1s;  # default$/m, 'a short interval brings a short timeout');
like($first, qr/^\t\tmask4 32;  # default$/m, "a module's defaults are filled in");

# Contents of files are not printed, and what cannot be read is said once.
put('cert.pem', "-----BEGIN SOMETHING-----\nopen\n");
put('key.pem', "-----BEGIN SOMETHING-----\nhush\n");
chmod 0600, 'key.pem';
put('tls.conf', "$head $pool virtual-service v { listen 127.0.0.1:0; pool p;\n"
	. "monitor tls { certificate cert.pem; key key.pem; } }\n");
($status, my $printed, $err) = load('-T', '-c', 'tls.conf');
is($status, 0, 'a certificate and its key') or diag $err;
like($printed, qr/^\t\tkey key\.pem;/m, 'the name of the key is printed');
unlike("$printed$err", qr/hush|open|BEGIN/, 'but no content');
unlink 'key.pem';
($status, $printed, $err) = load('-t', '-c', 'tls.conf');
is($err, "tls.conf:2: key: cannot read ./key.pem: No such file or directory\n"
	. "configuration tls.conf is not good: 1 error\n", 'a key that is missing');

# Size: 500 services with 20 servers each.
my $big = $head;
for my $i (1 .. 500) {
	my ($a, $b) = (int($i / 250), $i % 250 + 1);
	$big .= "pool p$i {\n";
	$big .= sprintf "\tserver s%d 127.%d.%d.%d weight=%d;\n", $_, $a + 1, $b, $_, $_ for 1 .. 20;
	$big .= "}\nvirtual-service v$i { listen 127.9.$a.$b:443; pool p$i; persistence source; monitor tcp; }\n";
}
put('big.conf', $big);
my $start = time;
($status, my $out, $err) = load('-t', '-c', 'big.conf');
my $took = time - $start;
is($out, "configuration big.conf is good: 500 services, 10000 servers\n", 'a big one is good') or diag $err;
diag sprintf '500 services with 10000 servers load in %.3f s', $took;
cmp_ok($took, '<', $ENV{STEELYARD_SLOW} || $err =~ /Sanitizer/ ? 10 : 3, 'and is loaded quickly');

# One name for all, so that quadratic work would show.
my $wide = "$head pool p {\n" . join('', map { "server s$_ 127.1." . int($_ / 250) . '.' . ($_ % 250 + 1) . ";\n" } 1 .. 20000)
	. "}\nvirtual-service v { listen 127.0.0.1:0; pool p; monitor off; }\n";
put('wide.conf', $wide);
$start = time;
($status, $out, $err) = load('-t', '-c', 'wide.conf');
is($out, "configuration wide.conf is good: 1 service, 20000 servers\n", 'a pool of 20000 is good') or diag $err;
cmp_ok(time - $start, '<', 30, 'and is loaded quickly');

($status, $out, $err) = load('-t', '-c', 'none.conf');
is($status, 1, 'a file that is not there');
like($err, qr/^none\.conf: cannot read none\.conf: No such file or directory$/m, 'is said to be missing');
($status, $out, $err) = load('-t', '-q', '-c', 'big.conf');
is("$status$out$err", '0', '-q: a good one is not worth a word');

done_testing;

__DATA__
=== a good one
POOL
virtual-service v { listen 127.0.0.1:0; REST }
--- good
=== an unknown directive, nearly right
wokers 2;
--- steelyard.conf:1: unknown directive wokers; did you mean workers?
=== an unknown directive
frobnicate 2;
--- steelyard.conf:1: unknown directive frobnicate
=== several errors in one go
wokers 2;
POOL
virtual-service v {
	listen 127.0.0.1:0;
	idle-timeout fast;
	tries 0;
	REST
}
--- steelyard.conf:1: unknown directive wokers
--- steelyard.conf:5: idle-timeout fast: a duration from 1s to 30d (default 30m) is expected; units are
--- steelyard.conf:6: tries 0: a number from 1 to 8 (default 3) is expected
=== workers out of range
workers 65;
--- steelyard.conf:1: workers 65: auto, or a number from 1 to 64 is expected
=== workers no number
workers many;
--- steelyard.conf:1: workers many: auto, or a number
=== a semicolon is missing
workers 2
log stderr;
--- steelyard.conf:1: workers takes one value, a word or a quoted text (default auto), and 3 are given; the statement goes on to line 2: is a ; missing?
=== a semicolon is missing before }
pool p {
	server s1 127.0.0.1
}
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:2: the statement server ends without a ;
=== a semicolon is missing at the end
POOL
virtual-service v { listen 127.0.0.1:0; REST }
workers 1
--- steelyard.conf:3: the statement workers ends without a ;
=== a } is missing
POOL
virtual-service v {
	listen 127.0.0.1:0;
	REST
--- steelyard.conf:2: the block of virtual-service is never closed
=== a } too many
POOL
virtual-service v { listen 127.0.0.1:0; REST }
}
--- steelyard.conf:3: } without a { before it
=== a ; behind a block
POOL;
--- steelyard.conf:1: ; without a statement before it
--- steelyard.conf:1 warning: pool p is not used
=== a { without a name
{ workers 2; }
--- steelyard.conf:1: { without a name before it
=== a quote that is never closed
workers 2;
log file "/var/log/x;
--- steelyard.conf:2: the quote " that begins here is never closed
--- steelyard.conf:2: the statement log ends without a ;
=== a control character
workers 2;
--- steelyard.conf:1: unexpected byte 0x01
--- steelyard.conf:1: workers
=== given twice
workers 2;

workers 3;
--- steelyard.conf:3: workers is given twice; the first time at steelyard.conf:1
=== given twice in a service
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	tries 3; tries 4;
}
--- steelyard.conf:4: tries is given twice; the first time at steelyard.conf:4
=== given twice on a line
pool p { server s1 127.0.0.1 weight=1 weight=2; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: weight is given twice
=== two protocols
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	protocol tcp;
}
--- steelyard.conf:4: protocol is given twice; the first time at steelyard.conf:3
=== a block where none belongs
workers { 2; }
--- steelyard.conf:1: workers takes no block
=== no value
workers;
--- steelyard.conf:1: workers needs a value: a word
=== log somewhere
log elsewhere;
--- steelyard.conf:1: log elsewhere: stderr, syslog or file PATH is expected
=== log level
log stderr level=information;
--- steelyard.conf:1: level information: err, warn, info or debug (default info) is expected
=== log level, nearly right
log stderr level=inof;
--- steelyard.conf:1: did you mean info?
=== log file without a path
log file level=info;
--- steelyard.conf:1: log file needs a path
=== control, relative
control run/control.sock;
--- steelyard.conf:1: control run/control.sock: the path must begin with /
=== control, too long
control /0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/012;
--- steelyard.conf:1: control: the path of a socket has at most 100 bytes
=== control mode
control /run/x mode=rw;
--- steelyard.conf:1: mode rw: permissions are three octal digits
=== control group
control /run/x group=no-such-group;
--- steelyard.conf:1: group no-such-group: there is no such group
=== control with an unknown setting
control /run/x moed=0600;
--- steelyard.conf:1: unknown setting moed in control /run/x; did you mean mode?
=== pid-file, relative
pid-file x.pid;
--- steelyard.conf:1: pid-file x.pid: the path must begin with /
=== an unknown table
tables { cels 100; }
--- steelyard.conf:1: unknown directive cels in tables; did you mean cells?
=== listen-slots
workers 8; listen-slots 4;
--- steelyard.conf:1: listen-slots 4: each of the 8 workers needs one
=== two consoles
console { listen 127.0.0.1:0; }
console { listen 127.0.0.1:0; }
--- steelyard.conf:2: console is given twice
=== the console does not do UDP
console { listen 127.0.0.1:8090/udp; }
--- steelyard.conf:1: listen 127.0.0.1:8090/udp: /udp is not possible here
=== the console's network
console { allow 10.0.0.1/8; }
--- steelyard.conf:1: allow 10.0.0.1/8: networks such as 10.0.0.0/8 or 2001:db8::/32, or addresses is expected; the network is 10.0.0.0/8
=== a pool without a name
pool { server s1 127.0.0.1; }
--- steelyard.conf:1: pool needs a name: pool NAME { ... }
=== a pool with a strange name
pool a/b { server s1 127.0.0.1; }
--- steelyard.conf:1: pool a/b: a name has 1 to 64 letters, digits and . _ - :
=== a pool twice
POOL
POOL
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:2: pool p is there twice; the first time at steelyard.conf:1
=== a pool without servers
pool p { }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: pool p has no servers
=== a pool that is not used
POOL
pool q { server s1 127.0.0.1; }
virtual-service v { listen 127.0.0.1:0; REST }
--- good
--- steelyard.conf:2 warning: pool q is not used by any virtual-service
=== a server twice
pool p {
	server s1 127.0.0.1;
	server s1 127.0.0.2;
}
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:3: server s1 is there twice in pool p; the first time at steelyard.conf:2
=== two servers of one address
pool p {
	server s1 127.0.0.1;
	server s2 127.0.0.1;
}
virtual-service v { listen 127.0.0.1:0; REST }
--- good
--- steelyard.conf:3 warning: server s2 of pool p has the same address as s1 (steelyard.conf:2)
=== a server without an address
pool p { server s1 weight=3; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: server s1 needs an address: server s1 192.0.2.1;
=== a mistyped address
pool p { server s1 127.0.0.300; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: the address 127.0.0.300: an address or a host name is expected
=== a name that cannot be found
pool p { server s1 nowhere.invalid; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: server: cannot find the address of nowhere.invalid:
=== a server's port
pool p { server s1 127.0.0.1:0; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: a port is a number from 1 to 65535
=== a server with two ports
pool p { server s1 127.0.0.1:80 port=81; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: server s1 has two ports: 80 with the address, and port=81
=== a server's weight
pool p { server s1 127.0.0.1 weight=70000; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: weight 70000: a number from 0 to 65535 (default 100) is expected
=== a server's setting
pool p { server s1 127.0.0.1 wieght=7; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: unknown setting wieght in server s1; did you mean weight?
=== something else on the line of a server
pool p { server s1 127.0.0.1 backup; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: server: unexpected backup; settings are written as name=value
=== all servers of weight 0
pool p { server s1 127.0.0.1 weight=0; }
virtual-service v { listen 127.0.0.1:0; REST }
--- good
--- steelyard.conf:1 warning: all servers of pool p have weight 0: virtual-service v (steelyard.conf:2)
=== a service without a name
POOL
virtual-service { listen 127.0.0.1:0; REST }
--- steelyard.conf:2: virtual-service needs a name
=== a service twice
POOL
virtual-service v { listen 127.0.0.1:81; REST }
virtual-service v { listen 127.0.0.1:82; REST }
--- steelyard.conf:3: virtual-service v is there twice; the first time at steelyard.conf:2
=== a service that listens nowhere
POOL
virtual-service v { REST }
--- steelyard.conf:2: virtual-service v listens nowhere: listen ADDRESS:PORT;
=== a service without a pool
POOL
virtual-service v { listen 127.0.0.1:0; monitor tcp; }
--- steelyard.conf:2: virtual-service v needs a pool: pool NAME;
--- steelyard.conf:1 warning: pool p is not used
=== a pool that is not there
pool edges { server s1 127.0.0.1; }
virtual-service v { listen 127.0.0.1:0; pool edge; monitor tcp; }
--- steelyard.conf:2: there is no pool edge; did you mean edges?
=== a sorry pool that is the pool
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	sorry-pool p;
}
--- steelyard.conf:4: the sorry pool is the pool itself
=== no port to listen on
POOL
virtual-service v { listen 127.0.0.1; REST }
--- steelyard.conf:2: listen 127.0.0.1: a port is missing: 192.0.2.1:443
=== no address to listen on
POOL
virtual-service v { listen 443; REST }
--- steelyard.conf:2: listen 443: an address is missing; * stands for all of them: *:443
=== IPv6 without brackets
POOL
virtual-service v { listen 2001:db8::1:443; REST }
--- steelyard.conf:2: an IPv6 address stands in brackets: [2001:db8::1]:443
=== a port too high
POOL
virtual-service v { listen 127.0.0.1:65536; REST }
--- steelyard.conf:2: listen 127.0.0.1:65536: a port is a number from 1 to 65535, or a range
=== a range backwards
POOL
virtual-service v { listen 127.0.0.1:20-10; REST }
--- steelyard.conf:2: listen 127.0.0.1:20-10: a port is a number
=== too many ports
POOL
virtual-service v {
	listen 127.0.0.1:1-2000; REST
}
--- steelyard.conf:3: 2000 addresses and ports to listen on; one service has at most 1024
=== another transport
POOL
virtual-service v { listen 127.0.0.1:443/sctp; REST }
--- steelyard.conf:2: what follows the port is /udp or /tcp
=== listen without anything
POOL
virtual-service v { listen; REST }
--- steelyard.conf:2: listen needs an address and a port
=== an address in two services
POOL
virtual-service v { listen 127.0.0.1:443; REST }
virtual-service w { listen 127.0.0.2:443 127.0.0.1:443; REST }
--- steelyard.conf:3: listen 127.0.0.1:443 belongs to virtual-service v already (steelyard.conf:2)
=== an address of the console's
console { listen 127.0.0.1:443; }
POOL
virtual-service v { listen 127.0.0.1:443; REST }
--- steelyard.conf:3: listen 127.0.0.1:443 belongs to the console already (steelyard.conf:1)
=== an address twice in a service, by a range
POOL
virtual-service v {
	listen 127.0.0.1:440-450;
	listen 127.0.0.1:443;
	REST
}
--- steelyard.conf:4: listen 127.0.0.1:443 is there twice; the first time at steelyard.conf:3
=== the same port for TCP and UDP is no clash, but tcp is no datagrams
POOL
virtual-service v { listen 127.0.0.1:443; REST }
virtual-service w {
	listen 127.0.0.1:443/udp;
	pool p;
	monitor tcp;
	protocol tcp;
}
--- steelyard.conf:4: listen: protocol tcp (steelyard.conf:7) does not understand datagrams, so /udp is not possible
=== what works with TCP only
POOL
virtual-service v {
	listen 127.0.0.1:443/udp;
	pool p;
	monitor tcp;
	protocol udp;
	send-proxy v2;
	accept-proxy-from 192.0.2.0/24;
}
--- steelyard.conf:7: send-proxy works with TCP only, and virtual-service v listens on UDP
--- steelyard.conf:8: accept-proxy-from works with TCP only, and virtual-service v listens on UDP
=== udp is no streams
POOL
virtual-service v {
	listen 127.0.0.1:443;
	pool p;
	monitor tcp;
	protocol udp;
}
--- steelyard.conf:3: listen: protocol udp (steelyard.conf:6) understands datagrams only
=== a protocol that is not there
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p; monitor tcp;
	protocol tpc;
}
--- steelyard.conf:4: protocol tpc: there is no such module; did you mean tcp? (there are:
=== a monitor that is not there
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor telepathy;
}
--- steelyard.conf:4: monitor telepathy: there is no such module (there are: 
=== a module with a path for a name
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor ../scheduler/round-robin;
}
--- steelyard.conf:4: monitor ../scheduler/round-robin: there is no such module
=== a monitor without a name
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor;
}
--- steelyard.conf:4: monitor needs the name of a module: monitor NAME;
=== a setting of a module, nearly right
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p; monitor tcp;
	persistence source {
		timeuot 20m;
	}
}
--- steelyard.conf:5: unknown directive timeuot in persistence source; did you mean timeout?
=== a setting of a module, out of range
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p; monitor tcp;
	persistence source { mask4 33; }
}
--- steelyard.conf:4: mask4 33: a number from
=== a setting of the core in a monitor
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor tcp { fall many; }
}
--- steelyard.conf:4: fall many: a number from 1 to 1000 (default 3) is expected
=== a probe that takes longer than the interval
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor tcp { interval 1s; timeout 2s; }
}
--- steelyard.conf:4: timeout 2s is longer than interval 1s
=== a fast interval that is slow
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor tcp { interval 1s; fast-interval 2s; }
}
--- steelyard.conf:4: fast-interval 2s is longer than interval 1s
=== a monitor elsewhere, with a port
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor tcp { address 127.0.0.1:80; }
}
--- steelyard.conf:4: address 127.0.0.1:80: an address or a host name without a port is expected
=== no monitor
POOL
virtual-service v { listen 127.0.0.1:0; pool p; }
--- good
--- steelyard.conf:2 warning: virtual-service v has no monitor
=== no monitor, meant
POOL
virtual-service v { listen 127.0.0.1:0; pool p; monitor off; }
--- good
=== no monitor, and one
POOL
virtual-service v {
	listen 127.0.0.1:0; pool p;
	monitor off;
	monitor tcp;
}
--- steelyard.conf:4: monitor off, and there are others
=== a policy for one monitor
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	monitor-policy any;
}
--- good
--- steelyard.conf:4 warning: monitor-policy needs more than one monitor
=== a policy that does not exist
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	monitor-policy some;
}
--- steelyard.conf:4: monitor-policy some: all or any (default all) is expected
=== more servers wanted than there are
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	minimum-up 3;
}
--- steelyard.conf:4: minimum-up 3: pool p has only 2 servers, so virtual-service v could never be up
=== snat neither here nor there
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	snat maybe;
}
--- steelyard.conf:4: snat maybe: on, off, or addresses of this machine without a port are expected
=== servers that leave from a service's address, and nobody to do it
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	outbound-snat on;
}
--- steelyard.conf:4: outbound-snat needs manage-routing on, outside of all blocks
=== servers that leave from two addresses
manage-routing on;
POOL
virtual-service v { listen 127.0.0.1:0; REST outbound-snat on; }
virtual-service w {
	listen 127.0.0.2:0; REST
	outbound-snat on;
}
--- steelyard.conf:6: outbound-snat: server s1 (127.0.0.1) is to leave from 127.0.0.2 here and from 127.0.0.1 in virtual-service v (steelyard.conf:3); it can have one of them
--- steelyard.conf:6: outbound-snat: server s2 (127.0.0.2) is to leave from
=== servers that leave from no address
manage-routing on;
POOL
virtual-service v {
	listen *:0; REST
	outbound-snat on;
}
--- steelyard.conf:5: outbound-snat: virtual-service v listens on no IPv4 address of its own that server s1 could leave from
--- steelyard.conf:5: outbound-snat: virtual-service v listens on no IPv4 address of its own that server s2 could leave from
=== a routing table that is none
manage-routing on;
routing-table 0;
--- steelyard.conf:2: routing-table 0
=== snat with a port
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	snat 127.0.0.1:80;
}
--- steelyard.conf:4: snat 127.0.0.1:80: on, off, or addresses
=== snat of the wrong kind
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	snat ::1;
}
--- steelyard.conf:4: snat has no IPv4 address, and servers of virtual-service v have one
=== transparency from IPv6 to IPv4
POOL
virtual-service v {
	listen [::1]:443; REST
	snat off;
}
--- steelyard.conf:4: snat off needs clients and servers of one kind
=== transparency makes a PROXY header needless
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	snat off;
	send-proxy v2;
}
--- good
--- steelyard.conf:5 warning: with snat off (steelyard.conf:4) the servers see the client's address anyway
=== a PROXY header of another version
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	send-proxy v3;
}
--- steelyard.conf:4: send-proxy v3: off, v1, v2 or console (default off) is expected; did you mean v1?
=== a limit per source that is never reached
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	max-connections 10;
	max-connections-per-source 20;
}
--- good
--- steelyard.conf:5 warning: max-connections-per-source 20 is never reached: max-connections is 10 (steelyard.conf:4)
=== a rate per minute
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	max-rate 100/m;
}
--- steelyard.conf:4: max-rate 100/m: a rate per second, such as 50/s (default 0) is expected
=== yes is not on
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	optional yes;
}
--- steelyard.conf:4: optional yes: on or off (default off) is expected
=== an idle timeout without sense
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	idle-timeout 30 minutes;
}
--- steelyard.conf:4: idle-timeout takes one value, a duration from 1s to 30d (default 30m), and 2 are given
=== a network with too many bits
POOL
virtual-service v {
	listen 127.0.0.1:0; REST
	allow 10.0.0.0/33;
}
--- steelyard.conf:4: allow 10.0.0.0/33: networks
=== a virtual-service in a pool
POOL
pool q {
	server s 127.0.0.1;
	virtual-service v { listen 127.0.0.1:0; REST }
}
--- steelyard.conf:4: virtual-service does not belong in pool q, but outside of blocks
--- steelyard.conf:1 warning: pool p is not used
=== a file that is not there
include user.conf; include other.conf;
+++ user.conf
workers 1;
+++ steelyard.conf
--- steelyard.conf:1: cannot read other.conf: No such file or directory
=== an included file has its own lines
include conf.d/*.conf;
POOL
+++ conf.d/b.conf

virtual-service v {
	listen 127.0.0.1:0; REST
	tries none;
}
--- conf.d/b.conf:4: tries none: a number
=== a pattern without a match is none
include conf.d/*.nothing;
POOL
virtual-service v { listen 127.0.0.1:0; REST }
--- good
=== a file in a block names both places
pool p { include servers.inc; }
virtual-service v { listen 127.0.0.1:0; REST }
+++ servers.inc
server s1 127.0.0.1;
server s2;
--- servers.inc:2: server s2 needs an address: server s2 192.0.2.1; (from steelyard.conf:1)
=== a folder
include conf.d;
+++ conf.d/x
--- steelyard.conf:1: cannot read conf.d: it is a folder (include FOLDER/*.conf; reads what is in one)
=== a file that includes itself
include a.conf;
+++ a.conf
include b.conf;
+++ b.conf

include a.conf;
--- b.conf:2: a.conf includes itself
=== a } in an included file closes nothing outside of it
pool p { include servers.inc; }
virtual-service v { listen 127.0.0.1:0; REST }
+++ servers.inc
server s1 127.0.0.1;
}
--- servers.inc:2: } without a { before it
=== a variable that is not there
set $port 80;
POOL
virtual-service v { listen 127.0.0.1:$prot; REST }
--- steelyard.conf:3: there is no variable $prot; did you mean $port?
--- steelyard.conf:3: listen
=== a variable with several values in a word
set $ports 80 81;
POOL
virtual-service v { listen 127.0.0.1:$ports; REST }
--- steelyard.conf:3: $ports has more than one value here
--- steelyard.conf:3: listen
=== a variable set twice
set $port 80;
set $port 81;
--- steelyard.conf:2: port is given twice; the first time at steelyard.conf:1
=== set without a $
set port 80;
--- steelyard.conf:1: set takes a variable and its value: set $name value;
=== set in a block
pool p { set $a b; server s1 127.0.0.1; }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: set must stand outside of blocks
=== a template that is not there
template edge { parameter a; }
deploy egde { a 1; }
--- steelyard.conf:2: there is no template egde; did you mean edge?
=== a template twice
template edge { parameter a; }
template edge { parameter a; }
--- steelyard.conf:2: template edge is there twice; the first time at steelyard.conf:1
=== a parameter that is missing
template edge {
	parameter address;
	parameter port default 443;
}
deploy edge;
--- steelyard.conf:5: template edge needs the parameter address (steelyard.conf:2)
=== a parameter that is not there
template edge {
	parameter address;
}
deploy edge {
	address 127.0.0.1;
	adress 127.0.0.2;
}
--- steelyard.conf:6: template edge (steelyard.conf:1) has no parameter adress; did you mean address?
=== an error in a template names both places
template edge {
	parameter idle default 30m;
	POOL
	virtual-service v {
		listen 127.0.0.1:0; REST
		idle-timeout $idle;
	}
}

deploy edge { idle never; }
--- steelyard.conf:6: idle-timeout never: a duration from 1s to 30d (default 30m) is expected; units are ms, s, m, h and d; a bare number is seconds (from steelyard.conf:10)
=== a template that deploys itself
template edge { deploy edge; }
deploy edge;
--- steelyard.conf:1: nested deeper than 32
=== a parameter given as a block, used as a word
template edge { parameter a; pool p$a { server s 127.0.0.1; } }
deploy edge { a { server x 127.0.0.1; } }
--- steelyard.conf:1: $a is a block of statements and cannot be part of a word
=== a parameter given as a word, used as a block
template edge { parameter a; pool p { $a; } }
deploy edge { a b; }
--- steelyard.conf:1: $a begins a statement, but is no parameter that was given as a block
--- steelyard.conf:1: pool p has no servers
--- steelyard.conf:1 warning: pool p is not used
=== a template in a block
pool p { server s1 127.0.0.1; template x { } }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: template must stand outside of all blocks
=== a directive of another block
pool p {
	server s1 127.0.0.1;
	idle-timeout 5m;
}
virtual-service v { listen 127.0.0.1:0; REST }
snat off;
--- steelyard.conf:6: snat does not belong here, but in virtual-service
--- steelyard.conf:3: idle-timeout does not belong in pool p, but in virtual-service
=== a console that cannot be reached
console { allow 127.0.0.1; }
POOL
virtual-service v { listen 127.0.0.1:0; REST }
--- good
--- steelyard.conf:1 warning: allow needs a listen
=== slow start without a monitor
pool p {
	server s1 127.0.0.1;
	slow-start 30s;
}
virtual-service v { listen 127.0.0.1:0; pool p; monitor off; }
--- good
--- steelyard.conf:3 warning: slow-start needs a monitor: virtual-service v (steelyard.conf:5) has none
=== nothing at all
# nothing
--- good
--- steelyard.conf warning: there is no virtual-service
=== a server's settings in a block
pool p { server s1 127.0.0.1 { weight 5; max-connections none; } }
virtual-service v { listen 127.0.0.1:0; REST }
--- steelyard.conf:1: max-connections none: a number (default 0) is expected
=== a loop without a block
for-each $a in 1 2 3;
--- steelyard.conf:1: for-each takes a variable, `in`, values, and a block
=== a loop
pool p { for-each $i in 1 2 3 { server s$i 127.0.0.$i; } }
virtual-service v { listen 127.0.0.1:0; REST }
--- good

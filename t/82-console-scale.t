#!/usr/bin/env perl
# The console with 500 services of 20 servers: what the page, the metrics and the API cost. The
# figures are the processor's time of the console process, which a busy machine does not change
# much; the aims are for an idle one, the limits are generous.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Browser;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

my ($services, $servers) = (500, 20);
my $slow = `grep -c 'define SANITIZERS' $ENV{STEELYARD_BUILD}/config.h` > 0 ? 20 : 1;
my $conf = "console { listen 127.0.0.1:0; }\ntables { persistence-entries 1024; flow-entries 0; }\n";
for my $s (1 .. $services) {
	$conf .= "pool p$s {\n" . join('', map { "\tserver s${s}n$_ 127.0.0.1:1;\n" } 1 .. $servers) . "}\n"
		. "virtual-service service-$s { listen 127.0.0.1:0; pool p$s; monitor off; }\n";
}
my $sy = Steelyard->start($conf, args => []);
my $console = $sy->console_port;
my $pid = $sy->pid_of('console');

# Milliseconds of the processor that the console has used.
sub used {
	open my $in, '<', "/proc/$pid/stat" or die "the console is gone: $!";
	my @field = split ' ', (<$in> =~ s/^.*\) //r);
	return ($field[11] + $field[12]) * 10;
}

sub ask {
	my $path = shift;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console, Timeout => 30) or die $@;
	print $sock "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
	my $got = '';
	1 while sysread $sock, $got, 1 << 20, length $got;
	return length $got;
}

for (['/metrics', 100], ['/v1/live', 100], ['/v1/services', 1000], ['/v1/status', 200], ['/v1/servers', 300], ['/v1/history/services', 100]) {
	my ($path, $aim) = @$_;
	my ($n, $began, $wall, $bytes) = (10, used(), time);
	$bytes = ask($path) for 1 .. $n;
	my $took = (used() - $began) / $n;
	diag sprintf '%-22s %7.1f ms of the processor, %7.1f ms, %.1f MB', $path, $took, (time - $wall) * 1000 / $n, $bytes / 1e6;
	cmp_ok($took, '<', $aim * 3 * $slow, "$path: $aim ms is the aim");
}

my $stream = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console) or die $@;
print $stream "GET /v1/stream HTTP/1.0\r\nHost: localhost\r\n\r\n";
my $told = "";
1 while $told !~ /data: / && sysread $stream, $told, 65536, length $told;
my ($seconds, $began) = (4, used());
sleep $seconds;
my $idle = (used() - $began) / $seconds / 10;
diag sprintf 'live updates, quiet: %.1f %% of a core', $idle;
cmp_ok($idle, '<', 15 * $slow, 'live updates: 5 % is the aim');
my @port = map { $sy->api("GET", "/v1/services/service-$_")->{listeners}[0]{address} =~ m{:(\d+)} } 1, 250, 500;
$began = used();
my $until = time + $seconds;
while (time < $until) {
	for my $port (@port) {
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		close $sock if $sock;
	}
	sleep 0.02;
}
diag sprintf 'live updates, with traffic: %.1f %% of a core', (used() - $began) / $seconds / 10;
close $stream;

SKIP: {
	skip 'built with sanitizers: the browser looks at the ordinary build', 1 if $slow > 1;
	my $browser = Browser->start or skip 'chromium or chromedriver is not installed', 1;
	$browser->go("http://127.0.0.1:$console/");
	$browser->wait_script('services', 'return document.querySelectorAll("tr[data-service]").length > 10');
	my $paint = $browser->script('return performance.getEntriesByName("first-contentful-paint")[0]?.startTime');
	my $rows = $browser->script('return performance.now()');
	diag sprintf 'first paint after %.0f ms, rows by %.0f ms', $paint, $rows;
	cmp_ok($paint, '<', 10_000, 'first paint: 1 s is the aim');
	$browser->type('#search', 'service-321');
	$browser->wait_script('the search', 'return document.querySelectorAll("tr[data-service]").length === 1');
	pass('a search among them');
	$browser->stop;
}
is($sy->stop, 0, 'it ends well');
done_testing;

#!/usr/bin/env perl
# /metrics: right by its own grammar and by promtool, in both formats; the figures are those of what
# happened; the shipped alert rules and dashboard name only what is there; fast for a big farm.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Time::HiRes qw(time);

my $src = $ENV{STEELYARD_SRC};
my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};

sub http {
	my ($port, $path, %head) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10) or die $@;
	print $sock "GET $path HTTP/1.0\r\nHost: localhost\r\n", map({ "$_: $head{$_}\r\n" } keys %head), "\r\n";
	local $/;
	my ($head, $body) = split /\r\n\r\n/, <$sock> // '', 2;
	my ($type) = $head =~ /^content-type:\s*([^\r\n]+)/im;
	return ($body, $type, $head =~ /^HTTP\S+ (\d+)/);
}

# The grammar of both formats, as far as it is used. Returns { name => { labels => value } }, families.
sub parse {
	my ($text, $open) = @_;
	my (%sample, %family, @wrong, $now);
	my @lines = split /\n/, $text, -1;
	push @wrong, 'the last line does not end' if pop(@lines) ne '';
	push @wrong, 'no # EOF' if $open && pop(@lines) ne '# EOF';
	for my $line (@lines) {
		if ($line =~ /^# (HELP|TYPE|UNIT) ([a-z_]+) (.+)$/) {
			my ($what, $name, $rest) = ($1, $2, $3);
			push @wrong, "$name comes twice" if $what eq 'HELP' && $family{$name};
			push @wrong, "$line: order" if $what ne 'HELP' && $name ne $now;
			push @wrong, "$line: unit is not in the name" if $what eq 'UNIT' && $name !~ /_$rest$/;
			$now = $name if $what eq 'HELP';
			$family{$name}{$what} = $rest;
		} elsif ($line =~ /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[\d.]+(?:e[-+]?\d+)?)$/) {
			my ($name, $labels, $value) = ($1, $2 // '', $3);
			my $is = $family{$now}{TYPE} // 'none';
			my $want = $open && $is eq 'counter' ? "${now}_total" : $now;
			push @wrong, "$line: in the family of $now ($is)" if $name ne $want;
			push @wrong, "$line: a counter is called _total, and nothing else is" if ($is eq 'counter') != ($name =~ /_total$/);
			push @wrong, "$line: twice" if defined $sample{$name}{$labels};
			$sample{$name}{$labels} = $value;
		} else {
			push @wrong, "not understood: $line";
		}
	}
	splice @wrong, 10 if @wrong > 10;
	return (\%sample, \%family, \@wrong);
}

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my $sy = Steelyard->start(<<"CONF");
console { listen 127.0.0.1:0; }
pool p {
	server s1 127.0.0.1:@{[ $s1->port ]};
	server s2 127.0.0.1:@{[ $s2->port ]} weight=50;
	server gone 127.0.0.1:1;
}
virtual-service web { listen 127.0.0.1:0; pool p; persistence source; monitor tcp { interval 100ms; rise 1; fall 1; } }
virtual-service dead { listen 127.0.0.1:0; pool q; monitor tcp { interval 100ms; rise 1; fall 1; } }
virtual-service odd.name:1 { listen 127.0.0.1:0; pool p; monitor off; }
pool q { server gone 127.0.0.1:1; }
CONF
my $console = $sy->console_port;
$sy->wait_up('web', $_) for qw(s1 s2);
$sy->wait_down($_, 'gone') for qw(web dead);
my $sent = 0;
my @clients;
for my $i (1 .. 5) {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('web')) or die $@;
	print $sock "hello $i\n";
	$sent += length "hello $i\n";
	my $line = <$sock>;
	push @clients, $sock;
}
close shift @clients for 1 .. 2;
my $refused = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('dead')) or die $@;
<$refused>;
$sy->ctl('drain', 's2', '--service', 'web');

my ($text, $type, $plain, $families, $wrong);
Steelyard::wait_for('the closes to be counted', sub {
	($text, $type) = http($console, '/metrics');
	($plain, $families, $wrong) = parse($text);
	($plain->{steelyard_service_closes_total}{'service="web",reason="client-done",error="no"'} // 0) == 2
		&& ($plain->{steelyard_service_closes_total}{'service="dead",reason="no-server",error="yes"'} // 0) == 1;
});
is_deeply($wrong, [], 'the grammar is kept');
like($type, qr{^text/plain; version=0\.0\.4}, "its type: $type");
my %want = (
	steelyard_service_connections_total => { 'service="web"' => 5 },
	steelyard_service_active_connections => { 'service="web"' => 3 },
	steelyard_service_bytes_total => { 'service="web",direction="up"' => $sent },
	steelyard_service_up => { 'service="web"' => 1, 'service="dead"' => 0 },
	steelyard_service_state => { 'service="dead",state="down"' => 1, 'service="dead",state="up"' => 0,
		'service="web",state="degraded"' => 1 },
	steelyard_service_servers => { 'service="web"' => 3 },
	steelyard_service_servers_accepting => { 'service="web"' => 1 },
	steelyard_server_up => { 'service="web",pool="p",server="gone"' => 0, 'service="web",pool="p",server="s2"' => 1 },
	steelyard_server_accepting => { 'service="web",pool="p",server="s1"' => 1, 'service="web",pool="p",server="s2"' => 0 },
	steelyard_server_weight => { 'service="web",pool="p",server="s2"' => 50 },
	steelyard_services => { '' => 3 },
	steelyard_generation => { '' => 1 },
	steelyard_process_starts_total => { 'process="worker-0"' => 1, 'process="checker"' => 1 },
	steelyard_persistence_entries => { '' => 1 },
);
for my $name (sort keys %want) {
	is($plain->{$name}{$_}, $want{$name}{$_}, "$name\{$_}") for sort keys %{ $want{$name} };
}
is($plain->{steelyard_service_up}{'service="odd.name:1"'}, 0 + 1, 'a name with all that names may have');
is($plain->{steelyard_service_closes_total}{'service="web",reason="server-reset",error="yes"'}, 0,
	'an error has its line before it happened');
cmp_ok($plain->{steelyard_process_beat_age_seconds}{'process="worker-0"'}, '<', 30, 'a worker is alive');

my ($open_text, $open_type) = http($console, '/metrics', Accept => 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5');
my ($open, $open_families, $open_wrong) = parse($open_text, 1);
is_deeply($open_wrong, [], 'OpenMetrics: the grammar is kept');
like($open_type, qr{^application/openmetrics-text; version=1\.0\.0}, "its type: $open_type");
is_deeply([ sort keys %$open ], [ sort keys %$plain ], 'the same names in both');
is($open_families->{steelyard_service_bytes}{UNIT}, 'bytes', 'units are told');

# What is shipped names what is there.
for my $file ("$src/contrib/metrics/alerts.yml", "$src/contrib/metrics/dashboard.json") {
	open my $in, '<', $file or die "$file: $!";
	local $/;
	my $content = <$in>;
	JSON::PP->new->utf8->decode($content) if $file =~ /json$/;
	my %names = map { $_ => 1 } $content =~ /\b(steelyard_[a-z_]+)/g;
	is_deeply([ grep { !$plain->{$_} } sort keys %names ], [], keys(%names) . " names in $file are there");
}

SKIP: {
	skip 'promtool is not installed', 3 unless $promtool;
	my $dir = tempdir(CLEANUP => 1);
	open my $out, '>', "$dir/text" or die $!;
	print $out $text;
	close $out;
	my $said = `$promtool check metrics < $dir/text 2>&1`;
	is($?, 0, 'promtool check metrics');
	is($said, '', 'it has nothing to say');
	$said = `$promtool check rules $src/contrib/metrics/alerts.yml 2>&1`;
	is($?, 0, 'promtool check rules') or diag $said;
}
$sy->stop;

subtest 'a big farm' => sub {
	my ($services, $servers) = (500, 20);
	my $conf = "console { listen 127.0.0.1:0; }\n";
	for my $s (1 .. $services) {
		my ($a, $b) = (int($s / 250), $s % 250 + 1);
		$conf .= "pool pool$s {\n" . join('', map { sprintf "\tserver server%d 127.%d.%d.%d:80;\n", $_, 100 + $a, $b, $_ } 1 .. $servers)
			. "}\nvirtual-service service$s { listen 127.90.$a.$b:0; pool pool$s; monitor off; }\n";
	}
	my $big = Steelyard->start($conf);
	my $console = $big->console_port;
	my ($best, $size, $made);
	for (1 .. 5) {
		my $start = time;
		my ($body) = http($console, '/metrics');
		my $took = time - $start;
		($best, $size) = ($took, length $body) if !defined $best || $took < $best;
		my ($says) = $body =~ /^steelyard_scrape_seconds ([\d.]+)$/m;
		$made = $says if !defined $made || $says < $made;
		is(scalar(() = $body =~ /^steelyard_server_up\{/mg), $services * $servers, 'every server') if $_ == 1;
	}
	diag sprintf '%d services with %d servers each: %.1f MB of metrics in %.0f ms, %.0f ms of them to make it',
		$services, $servers, $size / 1e6, $best * 1000, $made * 1000;
	my $limit = `grep -c 'define SANITIZERS' $ENV{STEELYARD_BUILD}/config.h` > 0 ? 5 : 0.5;
	cmp_ok($made, '<', $limit, 'in time on a busy machine; the aim is under 100 ms');
	is($big->stop, 0, 'it ends well');
};
done_testing;

#!/usr/bin/env perl
# steelyardctl explain --config: where a client would go by a configuration that is not in use, with
# the health, the wishes, the connections and the persistence of what runs; nothing is changed by it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear);

my %server = map { $_ => Steelyard->server($_) } qw(s1 s2 s3);
my %port = map { $_ => $server{$_}->port } keys %server;
my $conf = <<"CONF";
pool p { server s1 127.0.0.1:$port{s1}; server s2 127.0.0.1:$port{s2}; server down 127.0.0.1:1; }
virtual-service web { listen 127.0.0.1:0; pool p; scheduler least-connections; persistence source { timeout 10m; } monitor tcp { interval 200ms; rise 1; fall 1; } }
CONF
my $sy = Steelyard->start($conf);
$sy->wait_up('web', $_) for qw(s1 s2);
$sy->wait_down('web', 'down');
my $sock = dial($sy->port('web'));
say($sock, "hello\n");
my ($mine) = hear($sock, qr/\n/) =~ /^(\w+):/;
my $other = $mine eq 's1' ? 's2' : 's1';
my $running = $sy->api('GET', '/v1/generations')->{current};

sub candidate {
	my ($text, @args) = @_;
	open my $out, '>', "$sy->{dir}/candidate.conf" or die $!;
	my $head = do { open my $in, '<', $sy->{file} or die $!; local $/; <$in> =~ s/^pool.*//msr };
	print $out $head, $text;
	close $out;
	return $sy->ctl('explain', @args, '--config', "$sy->{dir}/candidate.conf", '--daemon', Steelyard::steelyardd(), '--modules', Steelyard::modules());
}

my ($text, $code) = candidate($conf, 'web', '--client', '127.0.0.1');
is($code, 0, 'the same file') or diag $text;
like($text, qr/^127\.0\.0\.1 goes to $mine of p: persistence$/m, 'a client that is kept stays');
like($text, qr/persistence: 127\.0\.0\.1 has an entry for server $mine/, 'by the entry of the running daemon');
like($text, qr/^  \s*down\s+down\s+0\s+100\s+/m, 'the health is that of the running daemon');
is($text =~ s/\s+/ /gr, $sy->ctl('explain', 'web', '--client', '127.0.0.1') =~ s/\s+/ /gr, 'the same words as on what runs');

($text, $code) = candidate($conf, 'web', '--client', '192.0.2.7');
like($text, qr/^192\.0\.2\.7 goes to $other of p: scheduler$/m, 'another goes to the one with fewer connections');
$sy->ctl('drain', $other);
($text) = candidate($conf, 'web', '--client', '192.0.2.7');
like($text, qr/^192\.0\.2\.7 goes to $mine of p: scheduler$/m, 'a wish counts') or diag $text;

($text, $code) = candidate($conf =~ s/server s1/server s3 127.0.0.1:$port{s3} weight=1000; server s1/r, 'web', '--client', '192.0.2.7');
like($text, qr/^192\.0\.2\.7 goes to s3 of p: scheduler$/m, 'a server that is new') or diag $text;
like($text, qr/^\* s3\s+unknown\s+0\s+1000\s/m, 'of which nothing is known');
($text) = candidate($conf =~ s/persistence source \{.*?\} /deny 192.0.2.0\/24; /r, 'web', '--client', '192.0.2.7');
like($text, qr/is refused by web: client is in a deny network/, 'a limit of the candidate');
($text) = candidate($conf =~ s/persistence source \{.*?\} //r, 'web', '--client', '127.0.0.1');
like($text, qr/persistence: none; each connection is balanced anew/, 'without persistence');
($text) = candidate($conf =~ s/scheduler least-connections/scheduler source-hash/r, 'web', '--client', '192.0.2.7');
like($text, qr/ goes to $mine of p: scheduler/, 'another scheduler, which is not loaded by what runs');
($text, $code) = candidate($conf . "virtual-service new { listen 127.0.0.1:0; pool p; monitor off; max-connections 5; }\n", 'new', '--client', '192.0.2.7');
is($code, 0, 'a service that is new') or diag $text;
like($text, qr/max-connections: 0 of 5 open/, 'has no connections yet');

my $limits = $conf =~ s/scheduler least-connections;/scheduler least-connections; max-connections-per-source 2; max-rate-per-source 5; max-rate 9;/r;
($text) = candidate($limits, 'web', '--client', '127.0.0.1');
like($text, qr/max-connections-per-source: this address has 1 of 2 open/, 'what a client has open counts for a limit that is new');
like($text, qr/max-rate-per-source: this address came 0 times in the last second, 5 are allowed/, 'how fast it came does not');
like($text, qr/max-rate: 0 came in the last second, 9 are allowed/, 'nor how many came');
($text) = candidate($limits =~ s/source 2/source 1/r, 'web', '--client', '127.0.0.1');
like($text, qr/^127\.0\.0\.1 is refused by web: /m, 'who has too many is refused');
$sy->ctl('enable', $other);
$server{$other}->kill;
$sy->wait_down('web', $other);
$server{$other}->again;
$sy->wait_up('web', $other);
($text) = candidate($conf =~ s/pool p \{/pool p { slow-start 1h;/r, 'web', '--client', '192.0.2.7');
like($text, qr/\b$other\s+up\s.*slow start/, 'who came up lately is in slow start') or diag $text;
unlike($text, qr/\b$mine\s+up\s.*slow start/, 'and no other');

($text, $code) = candidate($conf, 'wbe', '--client', '192.0.2.7');
is($code, 1, 'a service that is not there');
like($text, qr/there is no virtual-service wbe in this configuration/, 'in words');
($text, $code) = candidate($conf, 'web', '--client', '192.0.2.7', '--pool', 'q');
like($text, qr/virtual-service web has no pool q beside its own/, 'nor such a pool');
($text, $code) = candidate($conf, 'web', '--client', 'me');
like($text, qr/a client is an address such as/, 'a client that is none');
($text, $code) = candidate("nonsense;\n", 'web', '--client', '192.0.2.7');
is($code, 1, 'a file that would be refused');
like($text, qr/candidate\.conf:\d+: unknown directive nonsense/, 'with the reasons');
my ($json) = candidate($conf, 'web', '--client', '127.0.0.1', '--json');
is(eval { JSON::PP::decode_json($json)->{server} }, $mine, '--json') or diag $json;
is($sy->api('GET', '/v1/generations')->{current}, $running, 'nothing was done');
is(scalar @{ $sy->api('GET', '/v1/persistence')->{entries} }, 1, 'and nobody is kept by it');
is($sy->stop, 0, 'it ends well');
done_testing;

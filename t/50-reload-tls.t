#!/usr/bin/env perl
# Twenty certificates, one after the other, by reload, while clients come as fast as they can: no
# handshake fails, each certificate is seen at once, and connections that are there stay.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Crowd;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use Steelyard;
use Time::HiRes qw(time);

my ($rounds, $clients) = (20, 2);
my $certs = Certificates->new;
$certs->authority('ca');
my $dir = $certs->dir;
my $issue = sub { $certs->issue('web', ca => 'ca', key => 'ec', names => ['web.example.net']) };
$issue->();
my $echo = Crowd::Server->new('s1');
my $conf = sub { return "workers 2;\n# $_[0]\n" . <<CONF };
pool p { server s1 127.0.0.1:@{[ $echo->port ]}; }
virtual-service web { listen 127.0.0.1:0 { tls { certificate $dir/web.crt; key $dir/web.key; } } pool p; monitor off; }
CONF
my $sy = Steelyard->start($conf->(0));
my $port = $sy->port('web');

sub ask { my $ssl = shift; return Net::SSLeay::write($ssl, "x\n") > 0 && length(Net::SSLeay::read($ssl) // '') }

# One connection; the session of the one before is offered every second time.
sub connection {
	my ($ctx, $session) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return;
	my $ssl = Net::SSLeay::new($ctx);
	Net::SSLeay::set_fd($ssl, fileno $sock);
	Net::SSLeay::set_session($ssl, $session) if $session;
	my $good = Net::SSLeay::connect($ssl) == 1 && ask($ssl);
	return ($good, $ssl, $sock);
}

# Until its standard input ends; then "connections failures offered resumed".
sub load {
	my $version = shift;
	my ($n, $failed, $offered, $resumed, $session) = (0) x 4;
	my $ctx = Net::SSLeay::CTX_new();
	Net::SSLeay::CTX_set_max_proto_version($ctx, $version);
	until (IO::Select->new(\*STDIN)->can_read(0)) {
		my $offer = $n++ % 2 ? $session : undef;
		my ($good, $ssl) = connection($ctx, $offer);
		$failed++ unless $good;
		$offered++, $resumed += Net::SSLeay::session_reused($ssl) ? 1 : 0 if $good && $offer;
		$session = $good ? Net::SSLeay::get1_session($ssl) : undef;
		Net::SSLeay::shutdown($ssl), Net::SSLeay::free($ssl) if $ssl;
	}
	return "$n $failed $offered $resumed\n";
}

my @load = map {
	my $version = $_ == 1 ? 0x303 : 0x304;
	pipe my $end, my $ours or die;
	pipe my $theirs, my $say or die;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		open STDIN, '<&', $end;
		close $ours;
		syswrite $say, load($version);
		POSIX::_exit(0);
	}
	{ pid => $pid, end => $ours, said => $theirs };
} 1 .. $clients;

my $ctx = Net::SSLeay::CTX_new();
my @held = map { [connection($ctx)] } 1 .. 20;
is(scalar(grep { $_->[0] } @held), 20, 'connections that are there before');
my $print = sub { my $x509 = Net::SSLeay::get_peer_certificate($_[0]) or return ''; Net::SSLeay::X509_get_fingerprint($x509, 'sha256') };
my $last = $print->($held[0][1]);
my ($seen, $lost) = (0, 0);
for my $round (1 .. $rounds) {
	$issue->();
	my ($ok, $text) = $sy->reload($conf->($round));
	diag $text unless $ok;
	$sy->api('GET', '/v1/connections'); # each worker answers: it has heard of the switch
	my ($good, $ssl, $sock) = connection($ctx);
	my $now = $good ? $print->($ssl) : $last;
	$seen++ if $now ne $last;
	$last = $now;
	$lost += grep { !ask($_->[1]) } @held;
}
is($seen, $rounds, "each of $rounds certificates is seen by who comes next");
is($lost, 0, 'connections that are there go on');
my @sum = (0) x 4;
# All first: who was forked later holds the ends of those before.
close $_->{end} for @load;
for my $load (@load) {
	my @n = split ' ', readline($load->{said}) // '0 1 0 0';
	$sum[$_] += $n[$_] for 0 .. 3;
	waitpid $load->{pid}, 0;
}
diag "$sum[0] connections, $sum[1] failed; $sum[3] of $sum[2] that offered a session resumed it";
cmp_ok($sum[0], '>', 100, 'there was a load');
is($sum[1], 0, 'and none failed');
cmp_ok($sum[3], '>=', 0.99 * $sum[2], 'more than 99 % are resumed');
is($sy->stop, 0, 'it ends well');
done_testing;

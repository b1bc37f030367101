#!/usr/bin/env perl
# Picking and connecting: another server when one fails, never the same twice, nothing of what the
# client has said lost; limits, networks, sorry pool, minimum-up; a server that goes down or is
# drained; persistence.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Socket::INET;
use Socket qw(inet_aton pack_sockaddr_in);
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear hear_all ending half_close cut exchange line_of lines_since mark);

# A port where nobody listens, and one that never answers: its queue is full.
my $nobody = Steelyard::free_port();
my $deaf = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
my @fill;
for (1 .. 4) {
	my $sock = IO::Socket::INET->new(Proto => 'tcp', Blocking => 0);
	connect $sock, pack_sockaddr_in($deaf->sockport, inet_aton('127.0.0.1'));
	push @fill, $sock;
}
my @s = map { Steelyard->server("s$_", address => "127.0.0.1$_") } 1 .. 3;
my $greeter = Steelyard->server('g1', greet => 1);
my $sorry = Steelyard->server('sorry');
my @port = map { $_->port } @s;
my $head = "workers 2;\n";
my $conf = <<CONF;
pool good { server s1 127.0.0.11:$port[0]; server s2 127.0.0.12:$port[1]; server s3 127.0.0.13:$port[2]; }
pool mixed { server bad 127.0.0.1:$nobody weight=65535; server s1 127.0.0.11:$port[0] weight=1; }
pool bad { server b1 127.0.0.1:$nobody; server b2 127.0.0.2:$nobody; server b3 127.0.0.3:$nobody; server b4 127.0.0.4:$nobody; }
pool slow { server deaf 127.0.0.1:@{[ $deaf->sockport ]} weight=65535; server g1 127.0.0.1:@{[ $greeter->port ]} weight=1; }
pool deaf { server deaf 127.0.0.1:@{[ $deaf->sockport ]}; }
pool one { server s1 127.0.0.11:$port[0]; }
pool sorry { server sorry 127.0.0.1:@{[ $sorry->port ]}; }
pool full { server f1 127.0.0.11:$port[0] max-connections=2; server f2 127.0.0.12:$port[1] max-connections=1; }

virtual-service mixed { listen 127.0.0.1:0; pool mixed; scheduler priority; monitor off; }
virtual-service bad { listen 127.0.0.1:0; pool bad; scheduler round-robin; monitor off; tries 3; }
virtual-service slow { listen 127.0.0.1:0; pool slow; scheduler priority; monitor off; connect-timeout 300ms; }
virtual-service deaf { listen 127.0.0.1:0; pool deaf; monitor off; connect-timeout 300ms; }
virtual-service few { listen 127.0.0.1:0; pool one; monitor off; max-connections 3; }
virtual-service each { listen 127.0.0.1:0; pool one; monitor off; max-connections-per-source 2; }
virtual-service rate { listen 127.0.0.1:0; pool one; monitor off; max-rate 5; }
virtual-service source-rate { listen 127.0.0.1:0; pool one; monitor off; max-rate-per-source 5; }
virtual-service full { listen 127.0.0.1:0; pool full; monitor off; }
virtual-service nets { listen 127.0.0.1:0; pool one; monitor off; allow 127.0.0.0/24; deny 127.0.0.66; }
virtual-service lean { listen 127.0.0.1:0; pool good; scheduler round-robin; sorry-pool sorry; minimum-up 2; monitor tcp { interval 200ms; fast-interval 100ms; fall 1; rise 1; } }
virtual-service strict { listen 127.0.0.1:0; pool good; scheduler round-robin; minimum-up 3; monitor tcp { interval 200ms; fast-interval 100ms; fall 1; rise 1; } }
virtual-service reset { listen 127.0.0.1:0; pool good; scheduler round-robin; persistence source; monitor tcp { interval 200ms; fast-interval 100ms; fall 1; rise 1; } }
virtual-service keep { listen 127.0.0.1:0; pool good; scheduler round-robin; on-down keep; monitor tcp { interval 200ms; fast-interval 100ms; fall 1; rise 1; } }
virtual-service count { listen 127.0.0.1:0; pool good; scheduler least-connections; monitor off; }
CONF
my $sy = Steelyard->start($head . $conf);
my %port = map { $_->{name} => $_->{listeners}[0]{address} =~ s/.*://r } @{ $sy->api('GET', '/v1/services')->{services} };

sub held { my ($name, %opt) = @_; my $sock = dial($port{$name}, %opt); say($sock, "hi\n"); my $got = hear($sock, qr/\n/); return $got =~ /^(\w+): hi/ ? ($sock, $1) : (undef, $got) }
sub over {
	my ($sock, $end, $words, $name) = @_;
	my $line = line_of($sy, $sock);
	is($line->{end}, $end, $name);
	like($line->{words}, $words, "$name, in words");
	return $line;
}
sub empty { my $name = shift; Steelyard::wait_for("$name to be empty", sub { my ($s) = grep { $_->{name} eq $name } @{ $sy->api('GET', '/v1/services')->{services} }; $s->{active} == 0 }) }

subtest 'a server that refuses' => sub {
	for my $n (1 .. 5) {
		my $sock = dial($port{mixed});
		say($sock, "said before $n\n");
		is(hear($sock, qr/\n/), "s1: said before $n\n", 'the next one gets what the client has said');
		half_close($sock);
		hear_all($sock);
		is(line_of($sy, $sock)->{why}, 'retry', 'and the log says why it was chosen');
	}
	my $seat = $sy->seat('mixed', 'bad');
	is($seat->{connect_failures}, 5, 'its failures are counted');
	is($seat->{active}, 0, 'it has nothing open');
	my $sock = dial($port{bad});
	is(ending($sock), 'reset', 'when all refuse, so do we');
	over($sock, 'connect-refused', qr/^b\d refused the connection; 3 servers were tried$/, 'its reason');
	my $n = 0;
	$n += $sy->seat('bad', "b$_")->{connect_failures} for 1 .. 4;
	is($n, 3, 'as many were tried as `tries` says');
	cmp_ok($sy->seat('bad', "b$_")->{connect_failures}, '<=', 1, 'none of them twice') for 1 .. 4;
	for (1 .. 8) { ending(dial($port{bad})) }
	$n = 0;
	$n += $sy->seat('bad', "b$_")->{connect_failures} for 1 .. 4;
	is($n, 27, 'each time');
};

subtest 'a server that does not answer' => sub {
	mark($sy);
	my $from = time;
	my $sock = dial($port{slow});
	like(hear($sock, qr/\n/), qr/^hello g1/, 'the next one is asked');
	my $took = time - $from;
	cmp_ok($took, '>=', 0.28, sprintf 'after connect-timeout (%.2f s)', $took);
	cmp_ok($took, '<', 5, 'not long after');
	$sock = dial($port{deaf});
	say($sock, "hello?\n");
	is(ending($sock), 'reset', 'with nobody else the client is told');
	over($sock, 'connect-timeout', qr/^deaf did not answer within connect-timeout \(300ms\)$/, 'its reason');
	is($sy->seat('deaf', 'deaf')->{active}, 0, 'nothing is left open there');
};

subtest 'limits' => sub {
	mark($sy);
	my @held = map { (held('few'))[0] } 1 .. 3;
	is(scalar(grep { $_ } @held), 3, 'max-connections are served');
	my $sock = dial($port{few});
	is(ending($sock), 'reset', 'one more is not');
	over($sock, 'service-full', qr/^service has max-connections open \(3\)$/, 'its reason');
	close pop @held;
	Steelyard::wait_for('a place', sub { my ($again) = held('few'); push @held, $again if $again; $again });
	pass('a place that is given back is taken again');
	is((grep { $_->{name} eq 'few' } @{ $sy->api('GET', '/v1/services')->{services} })[0]{active}, 3, 'never more');
	@held = map { (held('each', from => '127.0.0.21'))[0] } 1 .. 2;
	$sock = dial($port{each}, from => '127.0.0.21');
	is(ending($sock), 'reset', 'a third one of the same address is refused');
	over($sock, 'source-full', qr/max-connections-per-source open \(2\)$/, 'its reason');
	ok((held('each', from => '127.0.0.22'))[0], 'another address is served');
	@held = ();
	empty('each');
	ok((held('each', from => '127.0.0.21'))[0], 'and the first one again, when it has left');
	for my $name (qw(rate source-rate)) {
		my ($good, $from) = (0, time);
		for (1 .. 20) { $good++ if (held($name))[0] }
		my $took = time - $from;
		cmp_ok($good, '>=', 5, "$name: the first ones of a second are served");
		cmp_ok($good, '<=', 5 * (1 + $took) + 1, sprintf '%s: no more (%d of 20 in %.2f s)', $name, $good, $took);
		is((grep { / service=$name / } lines_since($sy))[-1] =~ / end=(\S+)/ ? $1 : '', $name eq 'rate' ? 'service-rate' : 'source-rate', 'its reason') if $took < 1;
		Steelyard::wait_for("$name to have a place again", sub { (held($name))[0] });
		pass("$name: later there is a place again");
	}
	my %by;
	@held = map { my ($s, $who) = held('full'); $by{ $who // '' }++ if $s; $s } 1 .. 3;
	is_deeply(\%by, { s1 => 2, s2 => 1 }, 'each server has its max-connections');
	$sock = dial($port{full});
	is(ending($sock), 'reset', 'when all are full');
	over($sock, 'servers-full', qr/^every server has max-connections open/, 'its reason');
};

subtest 'networks' => sub {
	mark($sy);
	is(exchange($port{nets}, 'hi', from => '127.0.0.5'), 's1: hi', 'who is allowed');
	my $sock = dial($port{nets}, from => '127.0.0.66');
	is(ending($sock), 'reset', 'who is denied, though allowed');
	over($sock, 'denied', qr/deny network/, 'its reason');
	$sock = dial($port{nets}, from => '127.0.1.5');
	is(ending($sock), 'reset', 'who is not allowed');
	over($sock, 'not-allowed', qr/no allow network/, 'its reason');
};

subtest 'least connections' => sub {
	my %by;
	my @held = map { my ($s, $who) = held('count'); $by{$who}++; $s } 1 .. 30;
	is_deeply(\%by, { s1 => 10, s2 => 10, s3 => 10 }, 'exact, over two workers');
	my $rows = $sy->api('GET', '/v1/connections?service=count')->{connections};
	my %workers = map { $_->{worker} => 1 } @$rows;
	is(scalar @$rows, 30, 'all are listed');
	is(join(' ', sort keys %workers), '0 1', 'and were taken by both');
	my ($row) = grep { $_->{client} eq '127.0.0.1:' . $held[0]->sockport } @$rows;
	is("$row->{service} $row->{step} $row->{why} $row->{bytes_up} $row->{bytes_down}", 'count relay scheduler 3 7', 'what is known of one');
	my $closed = $sy->api('DELETE', '/v1/connections?service=count&server=s2')->{closed};
	is($closed, 10, 'those of one server are closed by hand');
	my %end = map { $_ => 1 } map { / service=count .* end=(\S+)/ } Steelyard::wait_for('their lines', sub { my @l = grep { / service=count / } lines_since($sy); @l >= 10 and \@l })->@*;
	is_deeply([ sort keys %end ], ['operator'], 'with that reason');
};

subtest 'when servers go down' => sub {
	for my $name (qw(lean strict reset keep)) { $sy->wait_up($name, "s$_") for 1 .. 3 }
	mark($sy);
	like(exchange($port{lean}, 'x'), qr/^s\d: x$/, 'three are up');
	my ($mine, $who) = held('reset', from => '127.0.0.31');
	my ($again, $same) = held('reset', from => '127.0.0.31');
	is($same, $who, 'persistence');
	my ($n) = $who =~ /(\d)/;
	my @keep = map { [ held('keep') ] } 1 .. 3;
	my ($kept) = grep { $_->[1] eq $who } @keep;
	# It stops listening; what is open stays open.
	kill 'STOP', $s[$n - 1]{pid};
	my ($addr, $p) = ("127.0.0.1$n", $port[$n - 1]);
	my @flood;
	$s[$n - 1]->kill;
	for my $name (qw(lean strict reset keep)) { $sy->wait_down($name, $who) }
	like(exchange($port{lean}, 'x'), qr/^s[^$n]: x$/, 'two are enough for minimum-up 2');
	my $sock = dial($port{strict});
	is(ending($sock), 'reset', 'not for 3');
	over($sock, 'too-few-up', qr/minimum-up \(3\)$/, 'its reason');
	my ($moved, $other) = held('reset', from => '127.0.0.31');
	isnt($other, $who, 'the persistent client goes elsewhere');
	my ($m) = $other =~ /(\d)/;
	$s[$m - 1]->kill;
	for my $name (qw(lean strict reset keep)) { $sy->wait_down($name, $other) }
	is(exchange($port{lean}, 'x'), 'sorry: x', 'one is too few: the sorry pool answers');
	my $line = Steelyard::wait_for('its line', sub { (grep { / service=lean .* server=sorry / } lines_since($sy))[-1] });
	like($line, qr/ why=sorry /, 'and the log says so');
	$_->again for $s[$n - 1], $s[$m - 1];
	for my $name (qw(lean strict reset keep)) { $sy->wait_up($name, "s$_") for 1 .. 3 }
	like(exchange($port{lean}, 'x'), qr/^s\d: x$/, 'and back');
};

subtest 'drained and disabled' => sub {
	mark($sy);
	my ($mine, $who) = held('reset', from => '127.0.0.41');
	my @server = ($who, '--pool', 'good');
	my ($text, $status) = $sy->ctl('drain', @server);
	is($status, 0, 'drain') or diag $text;
	Steelyard::wait_for('the wish to be known', sub { my %by; $by{ (held('reset', from => "127.0.1.$_"))[1] }++ for 1 .. 12; !$by{$who} });
	pass('no new client gets there');
	is((held('reset', from => '127.0.0.41'))[1], $who, 'the known client does');
	is((say($mine, "still\n"), hear($mine, qr/\n/))[1], "$who: still\n", 'and what was open stays open');
	($text, $status) = $sy->ctl('disable', @server);
	is($status, 0, 'disable') or diag $text;
	Steelyard::wait_for('the wish to be known', sub { (held('reset', from => '127.0.0.41'))[1] ne $who });
	pass('now the known client goes elsewhere');
	is((say($mine, "still\n"), hear($mine, qr/\n/))[1], "$who: still\n", 'what was open stays open');
	($text, $status) = $sy->ctl('enable', @server);
	is($status, 0, 'enable') or diag $text;
};

is($sy->stop, 0, 'it ends well');
done_testing;

#!/usr/bin/env perl
# protocol sip in mode proxy: one connection to a server carries what many clients say to it. The server is
# this test's own.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Phone;
use Sip qw(response field);
use Steelyard;
use Way qw(dial);

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128, ReuseAddr => 1) or die $!;
my $at = $listener->sockport;
my $sy = Steelyard->start(<<"CONF");
workers 1;
pool p { server s 127.0.0.1:$at; }
virtual-service many { listen 127.0.0.1:0; protocol sip { mode proxy; } pool p; monitor off; }
virtual-service brief { listen 127.0.0.1:0; protocol sip { mode proxy; } pool p; monitor off; server-idle-timeout 1s; }
virtual-service alone { listen 127.0.0.1:0; protocol sip { mode proxy; } pool p; monitor off; server-idle-connections 0; }
CONF

sub phone { my ($name, $service) = @_; return Phone->new($name, dial($sy->port($service)), 'TCP') }
# The server's next connection.
sub taken {
	IO::Select->new($listener)->can_read($Steelyard::LIMIT) or die 'nobody connects';
	return Phone->new('server', scalar $listener->accept, 'TCP');
}
sub nobody_else { ok(!IO::Select->new($listener)->can_read(0), $_[0]) }
sub says { my ($trunk, $request, $status, $more) = @_; $trunk->say(response($request, $status, 'X', $more)) }

my @phones = map { phone("p$_", 'many') } 1 .. 20;
my $trunk;
subtest 'one connection for many calls' => sub {
	my @asked;
	for my $phone (@phones) {
		$phone->say($phone->request('INVITE', id => "call-$phone->{name}"));
		$trunk ||= taken();
		push @asked, $trunk->wait(qr/^INVITE.*^Call-ID: call-$phone->{name}\r$/ms);
	}
	nobody_else('20 calls ring on one connection');
	# In another order than they were asked.
	says($trunk, $_, 180) for reverse @asked;
	says($trunk, $asked[$_], 200) for grep { $_ % 2 } 0 .. $#asked;
	says($trunk, $asked[$_], 486) for grep { $_ % 2 == 0 } 0 .. $#asked;
	my @wrong = grep {
		my $phone = $phones[$_];
		my $want = $_ % 2 ? 200 : 486;
		$phone->wait(qr/^SIP\S+ 180/) !~ /^Call-ID: call-$phone->{name}\r$/m
			|| $phone->wait(qr/^SIP\S+ [2-6]/) !~ /^SIP\S+ $want .*^Call-ID: call-$phone->{name}\r$/ms;
	} 0 .. $#phones;
	is("@wrong", '', 'each client has heard its own answers, and no other');
	is(() = $trunk->wait(qr/^ACK.*^Call-ID: call-p1\r$/ms) =~ /^ACK/mg, 1, 'a failure has its ACK');
	for my $phone (@phones[1, 3]) {
		$phone->say($phone->request('ACK', id => "call-$phone->{name}", tag => 'server'));
		like($trunk->wait(qr/^ACK.*^Call-ID: call-$phone->{name}\r$/ms), qr/^ACK/, 'a success, too');
	}
	# The server says a success again, when nobody waits for it any more.
	says($trunk, $asked[1], 200);
	like($phones[1]->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200 .*^Call-ID: call-p2\r$/ms, 'one that comes again finds its client');
};

subtest 'what the server says of its own' => sub {
	my $phone = $phones[0];
	$phone->say($phone->request('REGISTER', more => "Supported: path\r\nExpires: 600\r\n"));
	my $register = $trunk->wait(qr/^REGISTER/);
	says($trunk, $register, 200);
	like($phone->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200/, 'a phone registers');
	my ($path) = $register =~ /^Path: (.*)\r$/m;
	$trunk->say($trunk->request('NOTIFY', id => 'n1', routes => [$path], uri => "sip:p1\@$phone->{host}"));
	my $notify = $phone->wait(qr/^NOTIFY/);
	like($notify, qr/^Call-ID: n1\r$/m, 'a request on the same connection reaches it');
	$phone->answer($notify, 200, 'OK');
	like($trunk->wait(qr/^SIP.*^Call-ID: n1\r$/ms), qr/^SIP\S+ 200/, 'and its answer the server');
	nobody_else('without another connection');
};

subtest 'a server that leaves' => sub {
	my ($one, $two) = @phones[2, 4];
	$one->say($one->request('OPTIONS', id => 'o1'));
	$two->say($two->request('INVITE', id => 'i1'));
	$trunk->wait(qr/^OPTIONS/);
	says($trunk, $trunk->wait(qr/^INVITE.*^Call-ID: i1\r$/ms), 180);
	$two->wait(qr/^SIP\S+ 180/);
	close $trunk->{sock};
	like($two->wait(qr/^SIP\S+ [2-6]/), qr/^SIP\S+ 50\d .*^Call-ID: i1\r$/ms, 'what it had begun to answer fails');
	$trunk = taken();
	says($trunk, $trunk->wait(qr/^OPTIONS/), 200);
	like($one->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200 .*^Call-ID: o1\r$/ms, 'what it had not is said again');
};

subtest 'reload, and rest' => sub {
	my ($phone, $brief) = ($phones[5], phone('b', 'brief'));
	$phone->say($phone->request('OPTIONS', id => 'r1'));
	my $asked = $trunk->wait(qr/^OPTIONS.*^Call-ID: r1\r$/ms);
	$sy->reload;
	says($trunk, $asked, 200);
	like($phone->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200/, 'what is open at a reload is answered');
	$brief->say($brief->request('OPTIONS', id => 'r2'));
	my $other = taken();
	says($other, $other->wait(qr/^OPTIONS/), 200);
	like($brief->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200/, 'one with a short rest is used');
	like($other->wait(qr/(?!)/), qr/lost its connection/, 'and closed after it, with an end');
};

subtest 'a connection for each' => sub {
	my @alone = map { phone("a$_", 'alone') } 1 .. 2;
	my @got = map { $_->say($_->request('OPTIONS', id => "a-$_->{name}")); taken() } @alone;
	says($got[$_], $got[$_]->wait(qr/^OPTIONS/), 200) for 0, 1;
	like($alone[$_]->wait(qr{^SIP\S+ [2-6]}), qr/^SIP\S+ 200/, 'where connections belong to one client') for 0, 1;
};

is($sy->stop, 0, 'it ends well');
done_testing;

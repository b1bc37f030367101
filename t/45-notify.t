#!/usr/bin/env perl
# Who is told of changes: a program with keepalived's arguments, and mail; one at a time, in order,
# with repeats folded, and one that hangs is killed; by a process without privileges, without a fork.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Time::HiRes qw(time sleep);

my $dir = File::Temp::tempdir('steelyard-notify-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0777, $dir;
sub script {
	my ($name, $text) = @_;
	open my $out, '>', "$dir/$name" or die $!;
	print $out "#!/bin/sh\n$text";
	close $out;
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}
sub told { open my $in, '<', "$dir/$_[0]" or return; return <$in> }
my $program = script('told.sh', <<"SH");
echo "\$* was=\$STEELYARD_WAS repeats=\$STEELYARD_REPEATS pool=\$STEELYARD_POOL uid=\$(id -u) why=\$STEELYARD_WHY" >> $dir/told
[ -e $dir/hang ] && { echo hangs >> $dir/hung; sleep 1000; }
exit 0
SH
my $sendmail = script('sendmail.sh', "echo \"args \$*\" >> $dir/mail; cat >> $dir/mail; echo END >> $dir/mail\n");
my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my $conf = sub {
	my $fold = shift;
	return <<"CONF";
notify { program $program; mail ops\@example.net; sendmail $sendmail; fold $fold; timeout 2s; }
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 100ms; rise 1; fall 1; } }
virtual-service more { listen 127.0.0.1:0; pool p; monitor tcp { interval 100ms; rise 1; fall 1; } }
CONF
};
my $sy = Steelyard->start($conf->('1s'));
$sy->wait_up($_->[0], $_->[1]) for ['web', 's1'], ['web', 's2'], ['more', 's1'], ['more', 's2'];
sleep 2;
is_deeply([ told('told') ], [], 'while all is well nobody is told anything');

$s1->kill;
my %seen;
Steelyard::wait_for('the program to be told', sub {
	%seen = map { /^(\S+ \S+ \S+)/ ? ($1 => $_) : () } told('told');
	keys %seen >= 3;
});
like($seen{'SERVER s1 DOWN'}, qr/^SERVER s1 DOWN 0 was=UP repeats=0 pool=p uid=\d+ why=.*refused/, 'of the server, once');
like($seen{'SERVICE web DEGRADED'}, qr/^SERVICE web DEGRADED 1 was=UP .* why=1 of 2 servers/, 'of the service');
like($seen{'SERVICE more DEGRADED'}, qr/was=UP/, 'of the other');
unlike($seen{'SERVER s1 DOWN'}, qr/uid=0/, 'without root\'s rights') if $> == 0;
my $mail = Steelyard::wait_for('mail', sub { my $text = join '', told('mail'); $text =~ /END/ ? $text : undef });
like($mail, qr/^args -t -oi\nTo: ops\@example\.net\nSubject: \[steelyard \S+\] (service|server) \S+ is \w+/, 'mail has a head');
like($mail, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (service|server) \S+ \(pool p\): /m, 'and lines with the time');
$s1->again;
Steelyard::wait_for('the way back', sub { grep { /^SERVICE web UP 2 was=DEGRADED/ } told('told') });
pass('the way back is told, too');

subtest 'repeats are folded' => sub {
	my ($ok, $text) = $sy->reload($conf->('6s'));
	ok($ok, 'another time') or diag $text;
	Steelyard::wait_for('quiet', sub { !!(sleep 3) });
	my $before = () = told('told');
	for (1 .. 3) {
		$s2->kill;
		$sy->wait_down('web', 's2');
		sleep 1.2;
		$s2->again;
		$sy->wait_up('web', 's2');
		sleep 1.2;
	}
	my @lines = Steelyard::wait_for('what was folded', sub {
		my @new = (told('told'))[$before .. 1000];
		@new = grep { defined } @new;
		grep({ /^SERVER s2 .* repeats=[1-9]/ } @new) ? \@new : undef;
	});
	my $n = grep { /^SERVER s2 / } @{ $lines[0] };
	cmp_ok($n, '<=', 4, "six changes, told $n times");
};

subtest 'one that hangs' => sub {
	open my $out, '>', "$dir/hang" or die $!;
	my ($ok) = $sy->reload($conf->('1s'));
	sleep 2;
	$s1->kill;
	$sy->wait_log(qr/notify: the program is killed: it took longer than its timeout/);
	$sy->wait_log(qr/notify: the program ended with signal 9/);
	unlink "$dir/hang";
	Steelyard::wait_for('the next to be told', sub { grep { /^SERVICE \w+ DEGRADED/ } (told('told'))[-3 .. -1] });
	pass('those behind it have their turn');
};

subtest 'the configuration minds' => sub {
	for (['notify { fold 1m; }', qr/needs a program or a mail address/], ['notify { program told.sh; }', qr/must begin with/],
			['notify { mail ops; }', qr/one address is expected/], ['notify { mail "a@b\nBcc: c@d"; }', qr/one address is expected/]) {
		my ($ok, $text) = $sy->reload($_->[0] . "\n");
		ok(!$ok, $_->[0]);
		like($text, $_->[1], 'in words');
	}
};
is($sy->stop, 0, 'it ends well');
done_testing;

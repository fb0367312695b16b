"""Dates are read as feeds of eleven languages write them, to the right instant or not at all."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import catalog as catalogs
from listener.sources._dates import Months, feed_date, iso

LANGUAGES = catalogs.load(Path(__file__).resolve().parent.parent / "data").languages

# Month names as feeds write them: nominative, genitive where it differs, and short; then the days, Monday first.
MONTHS = {
    "tr": "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık|"
    "oca şub mar nis may haz tem ağu eyl eki kas ara|OCAK ŞUBAT MART NİSAN MAYIS HAZİRAN TEMMUZ AĞUSTOS EYLÜL EKİM KASIM ARALIK|"
    "ocak subat mart nisan mayis haziran temmuz agustos eylul ekim kasim aralik",
    "bg": "януари февруари март април май юни юли август септември октомври ноември декември|"
    "яну фев мар апр май юни юли авг сеп окт ное дек|ян фев март апр май юни юли авг септ окт ноем дек",
    "el": "Ιανουάριος Φεβρουάριος Μάρτιος Απρίλιος Μάιος Ιούνιος Ιούλιος Αύγουστος Σεπτέμβριος Οκτώβριος Νοέμβριος Δεκέμβριος|"
    "Ιανουαρίου Φεβρουαρίου Μαρτίου Απριλίου Μαΐου Ιουνίου Ιουλίου Αυγούστου Σεπτεμβρίου Οκτωβρίου Νοεμβρίου Δεκεμβρίου|"
    "Ιαν Φεβ Μαρ Απρ Μαΐ Ιουν Ιουλ Αυγ Σεπ Οκτ Νοε Δεκ|Ιαν Φεβ Μάρ Απρ Μάι Ιούν Ιούλ Αύγ Σεπτ Οκτ Νοέ Δεκ|"
    "ΙΑΝΟΥΑΡΙΟΥ ΦΕΒΡΟΥΑΡΙΟΥ ΜΑΡΤΙΟΥ ΑΠΡΙΛΙΟΥ ΜΑΪΟΥ ΙΟΥΝΙΟΥ ΙΟΥΛΙΟΥ ΑΥΓΟΥΣΤΟΥ ΣΕΠΤΕΜΒΡΙΟΥ ΟΚΤΩΒΡΙΟΥ ΝΟΕΜΒΡΙΟΥ ΔΕΚΕΜΒΡΙΟΥ",
    "sr": "januar februar mart april maj jun jul avgust septembar oktobar novembar decembar|"
    "januara februara marta aprila maja juna jula avgusta septembra oktobra novembra decembra|"
    "jan feb mar apr maj jun jul avg sep okt nov dec|"
    "јануар фебруар март април мај јун јул август септембар октобар новембар децембар|"
    "јануара фебруара марта априла маја јуна јула августа септембра октобра новембра децембра|"
    "јан феб мар апр мај јун јул авг сеп окт нов дец",
    "hr": "siječanj veljača ožujak travanj svibanj lipanj srpanj kolovoz rujan listopad studeni prosinac|"
    "siječnja veljače ožujka travnja svibnja lipnja srpnja kolovoza rujna listopada studenoga prosinca|"
    "sij velj ožu tra svi lip srp kol ruj lis stu pro",
    "bs": "januar februar mart april maj juni juli august septembar oktobar novembar decembar|"
    "januara februara marta aprila maja juna jula augusta septembra oktobra novembra decembra|"
    "jan feb mar apr maj jun jul aug sep okt nov dec|"
    "јануар фебруар март април мај јуни јули аугуст септембар октобар новембар децембар",
    "sl": "januar februar marec april maj junij julij avgust september oktober november december|"
    "januarja februarja marca aprila maja junija julija avgusta septembra oktobra novembra decembra|"
    "jan feb mar apr maj jun jul avg sep okt nov dec",
    "ro": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie|"
    "ian feb mar apr mai iun iul aug sept oct nov dec",
    "mk": "јануари февруари март април мај јуни јули август септември октомври ноември декември|"
    "јан фев мар апр мај јун јул авг сеп окт ное дек|"
    "januari fevruari mart april maj juni juli avgust septemvri oktomvri noemvri dekemvri",
    "sq": "janar shkurt mars prill maj qershor korrik gusht shtator tetor nëntor dhjetor|"
    "janari shkurti marsi prilli maji qershori korriku gushti shtatori tetori nëntori dhjetori|"
    "jan shk mar pri maj qer kor gus sht tet nën dhj|"
    "janar shkurt mars prill maj qershor korrik gusht shtator tetor nentor dhjetor",
    "en": "January February March April May June July August September October November December|"
    "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec|JAN FEB MAR APR MAY JUN JUL AUG SEPT OCT NOV DEC",
}
DAYS = {
    "tr": "Pazartesi Salı Çarşamba Perşembe Cuma Cumartesi Pazar|Pzt Sal Çar Per Cum Cmt Paz",
    "bg": "понеделник вторник сряда четвъртък петък събота неделя|пон вт ср четв пт съб нед",
    "el": "Δευτέρα Τρίτη Τετάρτη Πέμπτη Παρασκευή Σάββατο Κυριακή|Δευ Τρί Τετ Πέμ Παρ Σάβ Κυρ",
    "sr": "ponedeljak utorak sreda četvrtak petak subota nedelja|пон уто сре чет пет суб нед|"
    "понедељак уторак среда четвртак петак субота недеља",
    "hr": "ponedjeljak utorak srijeda četvrtak petak subota nedjelja|pon uto sri čet pet sub ned",
    "bs": "ponedjeljak utorak srijeda četvrtak petak subota nedjelja|pon uto sri čet pet sub ned",
    "sl": "ponedeljek torek sreda četrtek petek sobota nedelja|pon tor sre čet pet sob ned",
    "ro": "luni marți miercuri joi vineri sâmbătă duminică|lun. mar. mie. joi vin. sâm. dum.",
    "mk": "понеделник вторник среда четврток петок сабота недела|пон вто сре чет пет саб нед",
    "sq": "e_hënë e_martë e_mërkurë e_enjte e_premte e_shtunë e_diel|hën mar mër enj pre sht die",
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday|Mon Tue Wed Thu Fri Sat Sun",
}


def months(language: str) -> Months:
    return LANGUAGES[language].months


def test_every_language_has_its_names() -> None:
    assert MONTHS.keys() == DAYS.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("language", MONTHS)
def test_every_month_and_day_is_known_in_full_and_short_in_every_case_and_script(language: str) -> None:
    days = [names.split() for names in DAYS[language].split("|")]
    for names in MONTHS[language].split("|"):
        assert len(names.split()) == 12
        for number, name in enumerate(names.split(), 1):
            noon = datetime(2026, number, 20, 12, tzinfo=UTC)
            for day in (d[noon.weekday()].replace("_", " ") for d in days):
                for written in (
                    f"{day}, 20 {name} 2026 12:00:00",
                    f"{day} 20. {name}. 2026. - 12:00",
                    f"{day}, {name} 20, 2026 12:00",
                ):
                    assert feed_date(written, "UTC", months(language)) == noon, written
                    assert feed_date(written.title(), "UTC", months(language)) == noon, written


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("Fri, 20 Nov 2026 15:10:00 +0200", "13:10"),
        ("Fri, 20 Nov 2026 15:10:00 EET", "13:10"),
        ("Fri, 20 Nov 2026 15:10 EEST", "12:10"),
        ("Fri, 20 Nov 2026 16:10:00 TRT", "13:10"),
        ("20 Nov 2026 16:10 TSİ", "13:10"),
        ("Fri, 20 Nov 2026 14:10:00 CET", "13:10"),
        ("Fri, 20 Nov 2026 15:10:00 CEST", "13:10"),
        ("Fri, 20 Nov 2026 15:10:00 +0200 (EET)", "13:10"),
        ("Fri, 20 Nov 26 13:10:00 GMT", "13:10"),
        ("Fri, 20 Nov 2026 08:10:00 EST", "13:10"),
        ("Fri Nov 20 16:10:00 TRT 2026", "13:10"),
        ("Fri Nov 20 16:10:00 2026", "13:10"),
        ("2026-11-20T13:10:00.000Z", "13:10"),
        ("2026-11-20T15:10:00+0200", "13:10"),
        ("2026-11-20 16:10:00", "13:10"),
        ("2026-11-20 15:10:00 GMT+2", "13:10"),
        ("20-Nov-2026 16:10", "13:10"),
        ("20.11.2026 16:10", "13:10"),
        ("20. 11. 2026. u 16:10", "13:10"),
        ("20.11.2026 г. 16:10:00 ч.", "13:10"),
        ("20/11/2026 4:10:00 μμ", "13:10"),
        ("16:10 | 20.11.2026.", "13:10"),
        ("16:10, 20 Nov 2026", "13:10"),
        ("Nov 20, 2026 4:10 PM", "13:10"),
        ("Nov 20, 2026 at 4:10 p.m.", "13:10"),
        ("20 Nov 2026 16:10 nobody-knows", None),
        ("20 Nov 2026 PM 4:10", None),
        ("11/20/2026 16:10", None),
        ("20 Brumaire 2026 16:10", None),
        ("dün akşam", None),
        ("", None),
        ("Fri, 30 Nov 0002 00:00:00 +0000", None),
        ("Fri, 20 Nov 2026 25:61:00 +0200", None),
    ],
)
def test_a_date_is_read_to_its_instant_or_not_at_all(written: str, utc: str | None) -> None:
    found = feed_date(written, "Europe/Istanbul")
    assert (found and found.strftime("%F %R")) == (utc and f"2026-11-20 {utc}")


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        *(("CET", 1), ("CEST", 2), ("EET", 2), ("EEST", 3), ("TRT", 3), ("TSİ", 3), ("tsi", 3), ("MSK", 3), ("GMT", 0)),
        *(("UTC", 0), ("UT", 0), ("Z", 0), ("WET", 0), ("WEST", 1), ("EST", -5), ("PDT", -7), ("GMT+3", 3)),
        ("UTC-0330", -3.5),
    ],
)
def test_a_zone_that_is_named_counts_and_not_that_of_the_source(zone: str, hours: float) -> None:
    noon = datetime(2026, 7, 20, 12, tzinfo=UTC) - timedelta(hours=hours)
    assert feed_date(f"Mon, 20 Jul 2026 12:00:00 {zone}", "Asia/Tokyo") == noon


def test_a_date_without_a_zone_is_in_that_of_its_source_in_summer_and_in_winter() -> None:
    assert feed_date("20.11.2026 15:10", "Europe/Athens") == datetime(2026, 11, 20, 13, 10, tzinfo=UTC)
    assert feed_date("20.07.2026 15:10", "Europe/Athens") == datetime(2026, 7, 20, 12, 10, tzinfo=UTC)
    assert feed_date("20.07.2026 15:10", "No/Such") == datetime(2026, 7, 20, 15, 10, tzinfo=UTC)
    assert iso("2026-11-20T13:10:00.123+02:00") == datetime(2026, 11, 20, 11, 10, 0, 123_000, tzinfo=UTC)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="0123456789 :.,/+-()TZAMapr.ГгоΝοε\u0661²", max_size=120))
def test_whatever_is_written_there_is_a_date_or_none(written: str) -> None:
    begun = time.process_time()
    found = feed_date(written, "Europe/Sofia", months("bg"))
    assert found is None or found.utcoffset() == timedelta(0)
    assert time.process_time() - begun < 0.1
